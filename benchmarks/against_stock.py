"""Tunesmith and the stock recipe side by side: the same rows, the same base model, one run.

    python benchmarks/against_stock.py --train ../shared/data/banking77/train.csv \
        --test ../shared/data/banking77/test.csv

The stock recipe is what a user would run instead: transformers' `Trainer` at the defaults of
run_glue (the model's own classification head, padding per batch, AdamW, linear decay).
Printed for each: test accuracy and seconds, and of full fine-tuning at equal settings samples per
second and test accuracy, one seed a round. The two take turns, and medians are given.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from finetuning.config import Data, Training
from finetuning.devices import choose_device
from finetuning.labels import learn_labels
from finetuning.models import build
from finetuning.probing import compute_features, compute_logits, fit_probe
from finetuning.snapshots import take_snapshot
from finetuning.sources import find_base
from finetuning.strategies import tabulate
from finetuning.tokenization import encode, load_tokenizer
from finetuning.training import install_probe, train
from flows.environment import prepare_environment

BASE = "sentence-transformers/all-MiniLM-L6-v2"


def read_rows(arguments: argparse.Namespace) -> tuple[dict[str, tuple[list[str], np.ndarray]], int]:
    """Texts and label numbers of each split, and the number of labels."""
    data = Data(path="data", train=arguments.train.name, test=arguments.test.name)
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
    splits: dict[str, Any], folder: Path, classes: int, settings: Training, probe_only: bool
) -> dict[str, float]:
    """Encode, probe (or tune everything), and score the test rows; everything counts."""
    started = time.perf_counter()
    tokenizer = load_tokenizer(folder)
    rows = {
        split: encode(tokenizer, texts, None, labels, settings.max_length)
        for split, (texts, labels) in splits.items()
    }
    device = choose_device(settings.precision)
    longest = max(int(one.lengths.max()) for one in rows.values())
    model = build(folder, classes, settings.seed, longest=longest)
    speed = 0.0
    if probe_only:
        features = {
            name: compute_features(model, rows[name], device) for name in ("train", "validation")
        }
        labels = {name: torch.from_numpy(rows[name].labels.copy()) for name in rows}
        probe = fit_probe(
            features["train"],
            labels["train"],
            features["validation"],
            labels["validation"],
            classes,
        )
        pairs = [(features[name], labels[name]) for name in ("train", "validation")]
        install_probe(model, probe, pairs[0], pairs[1], 0.0)
    else:
        from finetuning.config import Strategy
        from finetuning.models import layer_groups

        table = tabulate(Strategy(kind="full"), settings.epochs, len(layer_groups(model)))
        speed = train(
            model, table, rows["train"], rows["validation"], settings, device
        ).samples_per_second
    logits = compute_logits(model, rows["test"], choose_device("fp32"))
    accuracy = float((logits.argmax(dim=1).numpy() == rows["test"].labels).mean())
    return {"accuracy": accuracy, "seconds": time.perf_counter() - started, "speed": speed}


def run_stock(
    splits: dict[str, Any], folder: Path, classes: int, settings: Training
) -> dict[str, float]:
    """Transformers' Trainer, as run_glue sets it up, on the same rows."""
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        PrinterCallback,
        Trainer,
        TrainingArguments,
    )

    started = time.perf_counter()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def make(split: str) -> list[dict[str, Any]]:
        texts, labels = splits[split]
        ids = tokenizer(texts, truncation=True, max_length=settings.max_length)["input_ids"]
        return [
            {"input_ids": row, "labels": int(label)} for row, label in zip(ids, labels, strict=True)
        ]

    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=classes)
    with tempfile.TemporaryDirectory() as scratch:
        trainer = Trainer(
            model,
            TrainingArguments(
                scratch,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size,
                per_device_eval_batch_size=settings.batch_size,
                save_strategy="no",
                disable_tqdm=True,
                logging_strategy="no",
                seed=settings.seed,
                report_to="none",
            ),
            train_dataset=make("train"),
            data_collator=DataCollatorWithPadding(tokenizer),
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


def describe_rounds(rounds: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Medians of the speed, ratios round by round, and every seed's accuracy."""
    speeds, scores = (
        {name: [one[key] for one in own] for name, own in rounds.items()}
        for key in ("speed", "accuracy")
    )
    ratios = [one / other for one, other in zip(speeds["tunesmith"], speeds["stock"], strict=True)]
    return {
        "samples per second": {name: statistics.median(own) for name, own in speeds.items()},
        "ratio": statistics.median(ratios),
        "ratios": ratios,
        "accuracy by seed": scores,
        "mean accuracy": {name: statistics.mean(own) for name, own in scores.items()},
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
    parser.add_argument("--rounds", type=int, default=3, help="speed rounds of each")
    parser.add_argument("--no-stock-epoch", action="store_true", help="only the speed rounds")
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    splits, classes = read_rows(arguments)
    base = find_base(arguments.base, None, Path.cwd(), fetch=True)
    if base is None:
        raise SystemExit(f"{arguments.base} is not at hand")
    settings = Training(
        epochs=1, batch_size=arguments.batch_size, max_length=128, early_stopping=None
    )
    report: dict[str, Any] = {"rows": {name: len(texts) for name, (texts, _) in splits.items()}}
    if not arguments.no_stock_epoch:
        report["tunesmith head"] = run_ours(splits, base.folder, classes, settings, probe_only=True)
        report["stock one epoch"] = run_stock(splits, base.folder, classes, settings)
    few = shorten(splits, arguments.speed_rows)
    rounds: dict[str, list[dict[str, float]]] = {"tunesmith": [], "stock": []}
    for seed in range(arguments.rounds):
        seeded = settings.model_copy(update={"seed": seed})
        rounds["tunesmith"].append(run_ours(few, base.folder, classes, seeded, probe_only=False))
        rounds["stock"].append(run_stock(few, base.folder, classes, seeded))
    report["full fine-tuning"] = describe_rounds(rounds)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
