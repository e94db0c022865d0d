"""Which learning rate, strategy and number of epochs suits how many rows: what advice is made of.

    python benchmarks/learning_rates.py --data banking77=../shared/data/banking77/train.csv \
        --data snips=../shared/data/snips/train.csv --to benchmarks/learning_rates.json
    python benchmarks/learning_rates.py --problem image-classification --rows 300,1500 \
        --base bases/resnet20 --data sign_digits_64=../shared/data/sign_digits_64 \
        --to benchmarks/image_rates.json
    python benchmarks/learning_rates.py --problem question-answering --rows 500,1000 \
        --data squad_small=../shared/data/squad_small --to benchmarks/question_rates.json
    python benchmarks/learning_rates.py --problem causal-lm --rows 500,3000 \
        --base ../shared/weights/stories260k_hf \
        --data tinyshakespeare=../shared/data/tinyshakespeare --to benchmarks/language_rates.json

A table of texts with the columns text and label is split as a pipeline splits it, and its test rows
are not looked at; the other problems' data are folders. Every strategy is trained on stratified
parts of the training rows (windows of questions, blocks of language), with every rate and with one
seed, and scored on the validation rows after each epoch. Trials that the file to write holds
already are not run again.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from finetuning.adaptation import adapt
from finetuning.config import Pipeline
from finetuning.digests import write_atomically
from finetuning.labels import learn_labels
from finetuning.problem import find_problem
from finetuning.snapshots import take_snapshot
from finetuning.sources import find_base
from finetuning.trials import order_nested
from flows.environment import prepare_environment

BASE = "sentence-transformers/all-MiniLM-L6-v2"
# Where layers learn later or more slowly the lower they lie.
PACED = (
    "gradual",
    "discriminative",
    "gradual+discriminative",
    "probe-then-tune+discriminative",
    "probe-then-tune+gradual+discriminative",
)


@dataclass(frozen=True)
class Plan:
    """What is tried for a problem.

    fixed: strategies without a rate of their own. rated: those tried with every one of `rates`, or
    of those that `apart` has for them. epochs, training: what all have in common. files: the tables
    of a folder of data. validated: rows of validation at most, for more would cost more than the
    training.
    """

    fixed: tuple[str, ...]
    rated: tuple[str, ...]
    rates: tuple[float, ...]
    epochs: int
    training: dict[str, Any]
    validated: int
    files: dict[str, str] = field(default_factory=dict)
    apart: dict[str, tuple[float, ...]] = field(default_factory=dict)


PLANS = {
    "text-classification": Plan(
        ("head",),
        ("probe-then-tune", "full", "lora", *PACED),
        (5e-5, 2e-4, 5e-4),
        3,
        {"max_length": 64},
        2000,
        apart={"lora": (2e-4, 2e-3, 1e-2, 3e-2)} | dict.fromkeys(PACED, (2e-4, 5e-4)),
    ),
    "image-classification": Plan(
        ("head",),
        ("probe-then-tune", "full"),
        (1e-3, 3e-3, 1e-2),
        8,
        {"image_size": 32, "augmentation": {"shift": 0.1}},
        2000,
        {"train": "train", "validation": "val", "test": "test"},
    ),
    "question-answering": Plan(
        (),
        ("full",),
        (5e-5, 2e-4, 5e-4),
        2,
        {"max_length": 384, "batch_size": 8},
        200,
        {"train": "train.jsonl", "test": "test.jsonl"},
    ),
    "causal-lm": Plan(
        (),
        ("full", "lora"),
        (2e-4, 1e-3, 5e-3),
        3,
        {"max_length": 128, "batch_size": 8},
        2000,
        {"train": "train.txt", "validation": "val.txt", "test": "test.txt"},
    ),
}


def list_settings(plan: Plan, sizes: list[int]) -> Iterator[tuple[int, str, float]]:
    """Size, strategy and learning rate of every trial of a data set."""
    for size in sizes:
        yield from ((size, strategy, plan.rates[0]) for strategy in plan.fixed)
        for strategy in plan.rated:
            yield from ((size, strategy, rate) for rate in plan.apart.get(strategy, plan.rates))


def make_pipeline(problem: str, base: str, files: dict[str, str]) -> Pipeline:
    """The pipeline that all trials of a problem begin with."""
    plan = PLANS[problem]
    training = {**plan.training, "epochs": plan.epochs, "early_stopping": None}
    data = {"path": "data", **files}
    given = {"problem": problem, "data": data, "model": {"base": base}, "training": training}
    return Pipeline.model_validate({"name": "benchmark", **given})


def run_trial(
    rows: dict[str, Any],
    folder: Path,
    classes: int,
    pipeline: Pipeline,
    setting: tuple[int, str, float],
) -> dict[str, Any]:
    """What validation was worth after every epoch, and the processor seconds of all of it."""
    size, strategy, rate = setting
    changed = pipeline.model_dump(mode="json")
    changed["strategy"] = {"kind": strategy}
    changed["training"]["learning_rate"] = rate
    order = np.sort(order_nested(rows["train"].labels, 0)[:size])
    started = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        history = adapt(
            folder,
            classes,
            Pipeline.model_validate(changed),
            rows["train"].take(order),
            rows["validation"],
            pipeline.training.max_length,
            Path(place),
        ).result.history
    best = max(history, key=lambda epoch: epoch.merit)
    return {
        "rows": size,
        "strategy": strategy,
        "learning_rate": rate,
        "epochs": [round(epoch.validation_accuracy, 4) for epoch in history],
        "losses": [round(epoch.validation_loss, 4) for epoch in history],
        "best": round(best.validation_accuracy, 4),
        "best_loss": round(best.validation_loss, 4),
        "seconds": round(time.process_time() - started, 1),
    }


def read_rows(place: Path, folder: Path, pipeline: Pipeline) -> tuple[dict[str, Any], int]:
    """Encoded training and validation rows, and the number of labels, 0 where there are none."""
    problem, columns = find_problem(pipeline.problem), pipeline.data.columns
    table = take_snapshot(place, pipeline.data, pipeline.problem)
    table = table[problem.encoding.find_usable(table, columns)]
    labels = learn_labels(table, columns) if problem.has_classes else ()
    if problem.has_classes:
        table = table[table[columns.label].notna()]
    encoder = problem.encoding.open_encoder(folder, columns, pipeline.training, place)
    rows = {}
    for split in ("train", "validation"):
        chosen = table[table["split"] == split]
        if split == "validation":
            chosen = chosen.head(PLANS[pipeline.problem].validated)
        if problem.has_classes:
            classes = chosen[columns.label].map(list(labels).index).to_numpy(np.int64)
        else:
            classes = np.full(len(chosen), -1)
        rows[split] = encoder.encode(chosen, classes, learning=split == "train")
    return rows, len(labels)


def main() -> None:
    """Run every trial that is not there yet, and write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problem", choices=PLANS, default="text-classification")
    parser.add_argument("--base", default=BASE, help="a packaged model, or a folder")
    parser.add_argument("--data", action="append", required=True, help="NAME=PLACE, repeatable")
    parser.add_argument("--rows", default="300,1000,4000", help="sizes, with commas between them")
    parser.add_argument("--to", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    prepare_environment(Path.cwd(), quiet=True)
    base = find_base(arguments.base, None, Path.cwd())
    if base is None:
        raise SystemExit(f"{arguments.base} is not at hand: pip install 'tunesmith[sample]'")
    found = json.loads(arguments.to.read_text("utf-8")) if arguments.to.exists() else []
    done = {(one["data"], one["rows"], one["strategy"], one["learning_rate"]) for one in found}
    plan = PLANS[arguments.problem]
    for name, _, path in (one.partition("=") for one in arguments.data):
        place, files = Path(path), plan.files
        if not files:
            place, files = place.parent, {"train": place.name}
        pipeline = make_pipeline(arguments.problem, arguments.base, files)
        rows, classes = read_rows(place, base.folder, pipeline)
        sizes = [min(int(size), len(rows["train"])) for size in arguments.rows.split(",")]
        for setting in list_settings(plan, sorted(set(sizes))):
            if (name, *setting) in done:
                continue
            trial = run_trial(rows, base.folder, classes, pipeline, setting)
            found.append({"data": name, "classes": classes} | trial)
            print(json.dumps(found[-1]), flush=True)
            lines = ",\n".join(json.dumps(one) for one in found)
            write_atomically(arguments.to, f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
