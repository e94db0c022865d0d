"""Question answering beside the stock recipe: the same questions, base model and span decoding.

    python benchmarks/questions.py --data ../shared/data/squad_small

The stock recipe is transformers' `Trainer` over a model for question answering, set up as run_qa
does it: every window padded to max_length, fp32 unless the Trainer chooses otherwise, all layers
at once. Each side runs in a process of its own, so that its peak memory is its own. Printed for
each: F1 and exact match on the test rows, seconds and processor seconds of the training, and peak
memory; and shares of the two.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from finetuning.adaptation import adapt
from finetuning.config import Pipeline
from finetuning.question_encoding import open_encoder
from finetuning.question_models import NEVER
from finetuning.snapshots import take_snapshot
from finetuning.sources import find_base
from finetuning.span_scoring import answer, mark
from finetuning.spans import CERTAIN
from flows.environment import prepare_environment

BASE = "sentence-transformers/all-MiniLM-L6-v2"
GIB = 2**20  # kilobytes
SIDES = ("ours", "stock")


def make_pipeline(arguments: argparse.Namespace) -> Pipeline:
    """What a user would write, from the command line's settings."""
    settings = {
        "epochs": arguments.epochs,
        "learning_rate": arguments.learning_rate,
        "batch_size": arguments.batch_size,
        "max_length": arguments.max_length,
        "early_stopping": None,
    }
    return Pipeline.model_validate(
        {
            "name": "questions",
            "problem": "question-answering",
            "data": {"path": "data", "train": arguments.train, "test": arguments.test},
            "model": {"base": BASE, "dropout": arguments.dropout},
            "strategy": {"kind": "full"},
            "training": settings,
        }
    )


def train_ours(pipeline: Pipeline, folder: Path, windows: dict[str, Any]) -> nn.Module:
    """One training through the loop; the best epoch on validation is kept."""
    with tempfile.TemporaryDirectory() as scratch:
        longest = int(windows["train"].lengths.max())
        return adapt(
            folder, 0, pipeline, windows["train"], windows["validation"], longest, Path(scratch)
        ).model


class Answering(nn.Module):
    """A model of transformers as the span decoding asks it."""

    threshold: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("threshold", torch.tensor(CERTAIN))

    def forward(self, allowed: Tensor, **batch: Tensor) -> Tensor:
        """Logits: (batch, length, 2)."""
        output = self.model(**batch)
        logits = torch.stack([output.start_logits, output.end_logits], dim=2)
        return logits.masked_fill(~allowed.unsqueeze(-1), NEVER)


def train_stock(pipeline: Pipeline, folder: Path, windows: dict[str, Any]) -> nn.Module:
    """Transformers' Trainer on the same windows, padded to max_length."""
    from transformers import AutoModelForQuestionAnswering, Trainer, TrainingArguments

    settings = pipeline.training
    rows = windows["train"]

    def pad(row: int) -> dict[str, Any]:
        batch = rows.collate(np.array([row]))
        del batch["allowed"]
        room = settings.max_length - batch["input_ids"].shape[1]
        padded = {
            name: nn.functional.pad(value[0], (0, room)).tolist() for name, value in batch.items()
        }
        ends = {"start_positions": int(rows.starts[row]), "end_positions": int(rows.ends[row])}
        return {**padded, **ends}

    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    with tempfile.TemporaryDirectory() as scratch:
        Trainer(
            model,
            TrainingArguments(
                scratch,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size,
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                seed=settings.seed,
                report_to="none",
            ),
            train_dataset=[pad(row) for row in range(len(rows))],
        ).train()
    return Answering(model)


def run_side(side: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Encode, train and score one side; the seconds are the training's."""
    pipeline = make_pipeline(arguments)
    base = find_base(BASE, None, Path.cwd())
    if base is None:
        raise SystemExit("The base model is not at hand: run `make run` first.")
    rows = take_snapshot(arguments.data, pipeline.data, pipeline.problem)
    encoder = open_encoder(base.folder, pipeline.data.columns, pipeline.training)
    tables = {
        split: rows[rows["split"] == split].head(arguments.rows)
        for split in ("train", "validation", "test")
    }
    windows = {
        split: encoder.encode(table, np.full(len(table), -1)) for split, table in tables.items()
    }
    started, processor = time.perf_counter(), time.process_time()
    train = train_ours if side == "ours" else train_stock
    model: Any = train(pipeline, base.folder, windows)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    columns = pipeline.data.columns
    answers = answer(model, {}, windows["test"], tables["test"], columns)
    marked = mark(answers, tables["test"], columns)
    return {
        "f1": float(marked["f1"].mean()),
        "exact_match": float(marked["exact_match"].mean()),
        "seconds": seconds,
        "processor_seconds": processor,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / GIB,
    }


def main() -> None:
    """Run both sides, or in a process of its own the one that is asked for, and print JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the two tables")
    parser.add_argument("--train", default="train.jsonl")
    parser.add_argument("--test", default="test.jsonl")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--batch-size", type=int, default=12)
    parser.add_argument("--max-length", type=int, default=384)
    parser.add_argument("--dropout", type=float, help="of ours; the base model's own unless given")
    parser.add_argument("--rows", type=int, help="only so many rows of each split")
    parser.add_argument("--side", choices=SIDES, help="one side alone")
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    if arguments.side:
        print(json.dumps(run_side(arguments.side, arguments)))
        return
    results: dict[str, dict[str, float]] = {}
    for side in SIDES:
        command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
        done = subprocess.run(
            command, env=dict(os.environ), stdout=subprocess.PIPE, text=True, check=True
        )
        results[side] = json.loads(done.stdout.splitlines()[-1])
    ours, stock = (results[side] for side in SIDES)
    shares = {f"share_{name}": ours[name] / stock[name] for name in ("seconds", "peak_gib")}
    shares["share_processor"] = ours["processor_seconds"] / stock["processor_seconds"]
    print(json.dumps({**results, **shares}, indent=1))


if __name__ == "__main__":
    main()
