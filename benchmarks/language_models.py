"""A language model fine-tuned here and by the stock recipe: one text, one base model, one score.

    python benchmarks/language_models.py --train ../shared/data/tinyshakespeare/train.txt \
        --validation ../shared/data/tinyshakespeare/val.txt \
        --test ../shared/data/tinyshakespeare/test.txt --base ../shared/weights/stories260k_hf

The stock recipe is what a user would run instead: transformers' `Trainer` as run_clm sets it up
(one stream of tokens in blocks, the last one left out, batches of 8, AdamW, linear decay). Both
train for one epoch at equal block size, batch size and learning rate, each in a process of its own,
in turns; both are scored by the stock's block perplexity on the test text. Seconds hold everything
but that scoring: reading, encoding, training, and ours also its validation.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from flows.environment import prepare_environment

SCORED_AT_ONCE = 16  # blocks


def run_ours(arguments: argparse.Namespace) -> Any:
    """Read, encode and train as a pipeline's stages do, without what lies around them."""
    from finetuning.adaptation import adapt
    from finetuning.block_encoding import open_encoder
    from finetuning.config import Pipeline
    from finetuning.snapshots import take_snapshot

    pipeline = Pipeline.model_validate(
        {
            "name": "benchmark",
            "problem": "causal-lm",
            "data": {
                "path": "data/text",
                "train": arguments.train.name,
                "validation": arguments.validation.name,
                "test": arguments.test.name,
            },
            "model": {"base": str(arguments.base)},
            "strategy": {"kind": "full"},
            "training": {
                "epochs": 1,
                "batch_size": arguments.batch_size,
                "learning_rate": arguments.learning_rate,
                "max_length": arguments.block_size,
                "precision": arguments.precision,
                "seed": arguments.seed,
            },
        }
    )
    table = take_snapshot(arguments.train.parent, pipeline.data, pipeline.problem)
    encoder = open_encoder(arguments.base, pipeline.data.columns, pipeline.training)
    train, validation = (
        encoder.encode(table[table["split"] == split], None, learning=split == "train")
        for split in ("train", "validation")
    )
    with tempfile.TemporaryDirectory() as place:
        adapted = adapt(
            arguments.base, 0, pipeline, train, validation, arguments.block_size, Path(place)
        )
    return adapted.model.base


def run_stock(arguments: argparse.Namespace) -> Any:
    """Transformers' Trainer, as run_clm sets it up."""
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        PrinterCallback,
        Trainer,
        TrainingArguments,
        default_data_collator,
    )

    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    blocks = cut_blocks(tokenizer, arguments.train, arguments.block_size)
    model = AutoModelForCausalLM.from_pretrained(arguments.base)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(
                scratch,
                num_train_epochs=1,
                learning_rate=arguments.learning_rate,
                per_device_train_batch_size=arguments.batch_size,
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                seed=arguments.seed,
                report_to="none",
            ),
            train_dataset=[{"input_ids": block, "labels": block} for block in blocks.tolist()],
            data_collator=default_data_collator,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return model


def cut_blocks(tokenizer: Any, path: Path, size: int) -> torch.Tensor:
    """A text's tokens in blocks, (blocks, size), without the last that is not full."""
    ids = tokenizer(path.read_text("utf-8"), verbose=False)["input_ids"]
    return torch.tensor(ids[: len(ids) // size * size]).view(-1, size)


def score(model: Any, arguments: argparse.Namespace) -> float:
    """Block perplexity of the test text as run_clm computes it, in fp32."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.base)
    blocks = cut_blocks(tokenizer, arguments.test, arguments.block_size)
    model.eval()
    with torch.inference_mode():
        losses = [
            model(input_ids=some, labels=some).loss.item() * len(some)
            for some in blocks.split(SCORED_AT_ONCE)
        ]
    return math.exp(sum(losses) / len(blocks))


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """One training of one kind in this process."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    began = time.perf_counter(), time.process_time()
    model = {"tunesmith": run_ours, "stock": run_stock}[arguments.only](arguments)
    took = time.perf_counter() - began[0], time.process_time() - began[1]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "perplexity": score(model, arguments),
        "seconds": took[0],
        "processor seconds": took[1],
        "peak memory, GiB": peak / 2**30,
    }


def take_turns(arguments: argparse.Namespace) -> dict[str, Any]:
    """Both, a seed a round, each in a fresh process; medians, and every round's seconds."""
    rounds: dict[str, list[dict[str, float]]] = {"tunesmith": [], "stock": []}
    for seed in range(arguments.rounds):
        for name, own in rounds.items():
            asked = [*sys.argv[1:], "--only", name, "--seed", str(seed)]
            done = subprocess.run(
                [sys.executable, __file__, *asked], check=True, capture_output=True, text=True
            )
            own.append(json.loads(done.stdout.splitlines()[-1]))
    return {
        name: {key: statistics.median(one[key] for one in own) for key in own[0]}
        | {"rounds": [[one["perplexity"], one["seconds"]] for one in own]}
        for name, own in rounds.items()
    }


def main() -> None:
    """Run the comparison and print it as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    for name in ("--train", "--validation", "--test", "--base"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--block-size", type=int, default=128)
    parser.add_argument("--batch-size", type=int, default=8, help="run_clm's default is 8")
    parser.add_argument("--learning-rate", type=float, default=5e-5, help="run_clm's default")
    parser.add_argument("--precision", default="auto", help="of ours: auto, fp32 or bf16")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as torch takes")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--only", choices=["tunesmith", "stock"], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    report = measure(arguments) if arguments.only else take_turns(arguments)
    print(json.dumps(report, indent=None if arguments.only else 1))


if __name__ == "__main__":
    main()
