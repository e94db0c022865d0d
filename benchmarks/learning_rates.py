"""Which learning rate, strategy and number of epochs suits how many rows: what advice is made of.

    python benchmarks/learning_rates.py --data banking77=../shared/data/banking77/train.csv \
        --data snips=../shared/data/snips/train.csv --to benchmarks/learning_rates.json

Each table with the columns text and label is split as a pipeline splits it, and its test rows are
not looked at. Every strategy is trained on stratified parts of the training rows, with every rate
and with one seed, and scored on all validation rows after each epoch. Trials that the file to write
holds already are not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from finetuning.adaptation import adapt
from finetuning.config import Data, Pipeline
from finetuning.digests import write_atomically
from finetuning.labels import learn_labels
from finetuning.snapshots import take_snapshot
from finetuning.sources import find_base
from finetuning.tokenization import encode, load_tokenizer
from finetuning.trials import order_nested
from flows.environment import prepare_environment

BASE = "sentence-transformers/all-MiniLM-L6-v2"
MAX_LENGTH = 64
RATED = ("probe-then-tune", "full")  # the others have no rate, or follow these
RATES = (5e-5, 2e-4, 5e-4)
EPOCHS = 3
VALIDATED = 2000  # validation rows at most: more would cost more than the training


def list_settings(sizes: list[int]) -> Iterator[tuple[int, str, float]]:
    """Size, strategy and learning rate of every trial of a table."""
    for size in sizes:
        yield size, "head", RATES[0]
        yield from ((size, strategy, rate) for strategy in RATED for rate in RATES)


def run_trial(
    rows: dict[str, Any], folder: Path, classes: int, setting: tuple[int, str, float]
) -> dict[str, Any]:
    """Accuracy on validation after every epoch, and the seconds of all of it."""
    size, strategy, rate = setting
    pipeline = Pipeline.model_validate(
        {
            "name": "benchmark",
            "problem": "text-classification",
            "data": {"path": "data/benchmark"},
            "model": {"base": BASE},
            "strategy": {"kind": strategy},
            "training": {"epochs": EPOCHS, "learning_rate": rate, "early_stopping": None},
        }
    )
    train = rows["train"].take(np.sort(order_nested(rows["train"].labels, 0)[:size]))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        adapted = adapt(
            folder, classes, pipeline, train, rows["validation"], MAX_LENGTH, Path(place)
        )
    history = adapted.result.history
    return {
        "rows": size,
        "strategy": strategy,
        "learning_rate": rate,
        "epochs": [round(epoch.validation_accuracy, 4) for epoch in history],
        "best": round(max(epoch.validation_accuracy for epoch in history), 4),
        "seconds": round(time.perf_counter() - started, 1),
    }


def read_rows(path: Path, folder: Path) -> tuple[dict[str, Any], int]:
    """Encoded training and validation rows, and the number of labels."""
    data = Data(path="data", train=path.name)
    table = take_snapshot(path.parent, data)
    labels = learn_labels(table, data.columns)
    numbers = {label: number for number, label in enumerate(labels)}
    tokenizer, rows = load_tokenizer(folder), {}
    for split in ("train", "validation"):
        chosen = table[(table["split"] == split) & table["text"].notna() & table["label"].notna()]
        if split == "validation":
            chosen = chosen.head(VALIDATED)
        classes = chosen["label"].map(numbers).to_numpy(np.int64)
        rows[split] = encode(tokenizer, chosen["text"].tolist(), None, classes, MAX_LENGTH)
    return rows, len(labels)


def main() -> None:
    """Run every trial that is not there yet, and write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", action="append", required=True, help="NAME=TABLE, repeatable")
    parser.add_argument("--rows", default="300,1000,4000", help="sizes, with commas between them")
    parser.add_argument("--to", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    base = find_base(BASE, None, Path.cwd())
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    found = json.loads(arguments.to.read_text("utf-8")) if arguments.to.exists() else []
    done = {(one["data"], one["rows"], one["strategy"], one["learning_rate"]) for one in found}
    for name, _, path in (one.partition("=") for one in arguments.data):
        rows, classes = read_rows(Path(path), base.folder)
        sizes = [int(size) for size in arguments.rows.split(",")]
        for setting in list_settings([size for size in sizes if size <= len(rows["train"])]):
            if (name, *setting) in done:
                continue
            trial = run_trial(rows, base.folder, classes, setting)
            found.append({"data": name, "classes": classes} | trial)
            print(json.dumps(found[-1]), flush=True)
            lines = ",\n".join(json.dumps(one) for one in found)
            write_atomically(arguments.to, f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
