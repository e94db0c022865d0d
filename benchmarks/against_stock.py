"""Tunesmith and the stock recipe side by side: the same rows, the same base model, one run.

    python benchmarks/against_stock.py --train ../shared/data/banking77/train.csv \
        --test ../shared/data/banking77/test.csv

The stock recipe is what a user would run instead: transformers' `Trainer` at the defaults of
run_glue (the model's own classification head, padding per batch, AdamW, linear decay), on the same
training rows. Two comparisons are printed, each with whether it reaches its target:

- the strategy `head` against one epoch of the stock recipe: test accuracy and seconds, reading,
  encoding and scoring included;
- full fine-tuning at equal settings, on fewer rows: samples per second of the training alone, and
  test accuracy. Both train with the same seeds, one a round, and take turns at going first.

Each of ours computes as a pipeline does on this device, in bf16 where that is native; the stock
recipe in fp32, its default. The heads differ, as they do for a user: ours is one linear layer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recipes import STOCK_BATCH, STOCK_RATE, make_pipeline

from finetuning.adaptation import adapt
from finetuning.config import Data, Pipeline
from finetuning.devices import choose_device
from finetuning.labels import learn_labels
from finetuning.probing import compute_logits
from finetuning.snapshots import take_snapshot
from finetuning.sources import find_base
from finetuning.tokenization import encode, load_tokenizer
from flows.environment import prepare_environment

BASE = "sentence-transformers/all-MiniLM-L6-v2"
# run_glue's defaults; no weight decay and no warm-up are transformers' own.
SETTINGS = {
    "epochs": 1, "batch_size": STOCK_BATCH, "learning_rate": STOCK_RATE, "weight_decay": 0.0,
    "warmup": 0.0, "max_length": 128, "early_stopping": None,
}  # fmt: skip
LEAST_ACCURACY, LEAST_RATIO = 0.925, 2.0  # what is to be reached


def read_rows(arguments: argparse.Namespace) -> tuple[dict[str, tuple[list[str], np.ndarray]], int]:
    """Texts and label numbers of each split, and the number of labels."""
    test = arguments.test.name if arguments.test else None  # None: split off as a pipeline does
    data = Data(path="data", train=arguments.train.name, test=test)
    rows = take_snapshot(arguments.train.parent, data)
    labels = learn_labels(rows, data.columns)
    numbers = {label: number for number, label in enumerate(labels)}
    splits = {}
    for split in ("train", "validation", "test"):
        chosen = rows[rows["split"] == split]
        splits[split] = (
            chosen["text"].tolist(),
            chosen["label"].map(numbers).to_numpy(np.int64),
        )
    return splits, len(labels)


def run_ours(
    splits: dict[str, Any], folder: Path, classes: int, pipeline: Pipeline
) -> dict[str, Any]:
    """Encode, adapt by the pipeline's strategy, and score the test rows; everything counts."""
    started = time.perf_counter()
    tokenizer = load_tokenizer(folder)
    rows = {
        split: encode(tokenizer, texts, None, labels, pipeline.training.max_length)
        for split, (texts, labels) in splits.items()
    }
    longest = max(int(one.lengths.max()) for one in rows.values())
    with tempfile.TemporaryDirectory() as scratch:
        adapted = adapt(
            folder, classes, pipeline, rows["train"], rows["validation"], longest, Path(scratch)
        )
    logits = compute_logits(adapted.model, rows["test"], choose_device("fp32"))
    accuracy = float((logits.argmax(dim=1).numpy() == rows["test"].labels).mean())
    result = adapted.result
    return {
        "history": result.history,
        "validation": result.history[result.best].validation_accuracy,
        "accuracy": accuracy,
        "seconds": time.perf_counter() - started,
        "speed": result.samples_per_second,
    }


def run_stock(
    splits: dict[str, Any],
    folder: Path,
    classes: int,
    settings: dict[str, Any],
    frozen: tuple[str, ...] = (),
    callbacks: Sequence[Any] = (),
) -> dict[str, float]:
    """Transformers' Trainer, as run_glue sets it up, on the same rows.

    Parameters whose names begin with one of `frozen` do not learn.
    """
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    torch.use_deterministic_algorithms(False)  # ours asks for them
    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def make(split: str) -> list[dict[str, Any]]:
        texts, labels = splits[split]
        ids = tokenizer(texts, truncation=True, max_length=settings["max_length"])["input_ids"]
        return [
            {"input_ids": row, "labels": int(label)} for row, label in zip(ids, labels, strict=True)
        ]

    torch.manual_seed(settings["seed"])  # of the head
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(frozen))
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(
                scratch,
                num_train_epochs=settings["epochs"],
                learning_rate=settings["learning_rate"],
                per_device_train_batch_size=settings["batch_size"],
                per_device_eval_batch_size=settings["batch_size"],
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                seed=settings["seed"],
                report_to="none",
            ),
            train_dataset=make("train"),
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=list(callbacks),
        )
        trainer.remove_callback(PrinterCallback)
        speed = trainer.train().metrics["train_samples_per_second"]
        predicted = trainer.predict(make("test")).predictions.argmax(axis=1)
    accuracy = float((predicted == splits["test"][1]).mean())
    return {"accuracy": accuracy, "seconds": time.perf_counter() - started, "speed": speed}


def shorten(splits: dict[str, Any], rows: int | None) -> dict[str, Any]:
    """The first rows of each split in a fixed random order; all of them for None."""
    if rows is None:
        return splits
    short = {}
    for name, (texts, labels) in splits.items():
        order = np.random.default_rng(0).permutation(len(texts))[:rows]
        short[name] = ([texts[i] for i in order], labels[order])
    return short


def compare_heads(ours: dict[str, Any], stock: dict[str, float]) -> dict[str, Any]:
    """The fitted head beside one epoch of the stock recipe."""
    return {
        "tunesmith head": {name: ours[name] for name in ("accuracy", "seconds")},
        "stock one epoch": {name: stock[name] for name in ("accuracy", "seconds")},
        f"accuracy at least {LEAST_ACCURACY}": ours["accuracy"] >= LEAST_ACCURACY,
        "in no more time": ours["seconds"] <= stock["seconds"],
    }


def compare_speeds(rounds: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Medians of the speed, ratios round by round, and every seed's accuracy.

    The accuracies are the same within the seeds' spread where their means are no further apart
    than the accuracies of one recipe's seeds are.
    """
    speeds, scores = (
        {name: [one[key] for one in own] for name, own in rounds.items()}
        for key in ("speed", "accuracy")
    )
    ratios = [one / other for one, other in zip(speeds["tunesmith"], speeds["stock"], strict=True)]
    means = {name: statistics.mean(own) for name, own in scores.items()}
    spread = max(max(own) - min(own) for own in scores.values())
    lead = means["tunesmith"] - means["stock"]
    return {
        "samples per second": {name: statistics.median(own) for name, own in speeds.items()},
        "ratios": ratios,
        "ratio": statistics.median(ratios),
        f"ratio at least {LEAST_RATIO:g}": statistics.median(ratios) >= LEAST_RATIO,
        "accuracy by seed": scores,
        "mean accuracy": means,
        "lead": lead,
        "spread of the seeds": spread,
        "no less accurate, but for the spread": lead >= -spread,
        "as accurate, but for the spread": abs(lead) <= spread,
    }


def main() -> None:
    """Run the comparison and print it as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--base", default=BASE)
    parser.add_argument("--batch-size", type=int, default=8, help="run_glue's default is 8")
    parser.add_argument("--speed-rows", type=int, default=1600, help="rows of the speed rounds")
    parser.add_argument("--rounds", type=int, default=3, help="speed rounds of each; 0: none")
    parser.add_argument("--no-stock-epoch", action="store_true", help="only the speed rounds")
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    splits, classes = read_rows(arguments)
    base = find_base(arguments.base, None, Path.cwd(), fetch=True)
    if base is None:
        raise SystemExit(f"{arguments.base} is not at hand")
    settings = SETTINGS | {"batch_size": arguments.batch_size, "seed": 0}
    report: dict[str, Any] = {"rows": {name: len(texts) for name, (texts, _) in splits.items()}}

    def ours(rows: dict[str, Any], strategy: str, own: dict[str, Any]) -> dict[str, Any]:
        return run_ours(rows, base.folder, classes, make_pipeline(arguments.base, strategy, own))

    def stock(rows: dict[str, Any], own: dict[str, Any]) -> dict[str, float]:
        return run_stock(rows, base.folder, classes, own)

    if not arguments.no_stock_epoch:
        report["head"] = compare_heads(ours(splits, "head", settings), stock(splits, settings))
    few = shorten(splits, arguments.speed_rows)
    rounds: dict[str, list[dict[str, Any]]] = {"tunesmith": [], "stock": []}
    for seed in range(arguments.rounds):
        seeded = settings | {"seed": seed}
        if seed % 2:
            rounds["stock"].append(stock(few, seeded))
        rounds["tunesmith"].append(ours(few, "full", seeded))
        if not seed % 2:
            rounds["stock"].append(stock(few, seeded))
    if arguments.rounds:
        report["full fine-tuning"] = compare_speeds(rounds)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
