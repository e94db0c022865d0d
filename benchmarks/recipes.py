"""What the benchmarks of whole trainings share: recipes, and a process of its own for each side.

A recipe is a strategy with settings of its own and of the pipeline file's `training`, with commas
between them: `probe-then-tune,groups=5,learning_rate=5e-4`, or `full,augmentation.shift=0.1`. Where
several are given, each is trained, the validation rows choose one, and the test score of that one
alone is told. The stock side runs once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from finetuning.config import Pipeline, Strategy
from finetuning.trials import measure_peak

STOCK = "stock"
FIGURES = ("validation", "accuracy", "seconds")
GIBIBYTE = 2**30
# Defaults of transformers' TrainingArguments, which run_glue keeps.
STOCK_EPOCHS, STOCK_RATE, STOCK_BATCH = 3, 5e-5, 8


def read_recipe(base: str, recipe: str, fixed: dict[str, Any], **others: Any) -> Pipeline:
    """The pipeline of a recipe, beside the settings of `training` and the keys that are fixed."""
    kind, *settings = recipe.split(",")
    strategy, training = {"kind": kind}, dict(fixed)
    for key, value in (one.split("=", 1) for one in settings):
        section, _, name = key.rpartition(".")
        place = strategy if key in Strategy.model_fields else training
        place = place.setdefault(section, {}) if section else place
        place[name] = value
    return make_pipeline(base, kind, training, **{"strategy": strategy, **others})


def make_pipeline(base: str, kind: str, training: dict[str, Any], **others: Any) -> Pipeline:
    """A pipeline of that strategy and those settings, for texts with labels unless said."""
    return Pipeline.model_validate(
        {
            "name": "benchmark",
            "problem": "text-classification",
            "data": {"path": "data/benchmark"},
            "model": {"base": base},
            "strategy": {"kind": kind},
            "training": training,
            **others,
        }
    )


def add_sides(parser: argparse.ArgumentParser, recipe: str) -> None:
    """The arguments that say what is trained on each side."""
    parser.add_argument("--recipe", action="append", help=f"repeatable; {recipe} unless given")
    parser.add_argument("--stock-epochs", type=int, default=STOCK_EPOCHS, help="0: no stock side")
    parser.add_argument("--stock-learning-rate", type=float, default=STOCK_RATE)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one side, in this process: a recipe, or stock")


def measure(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What one side answered, and its processor seconds and peak memory: this process's only work.

    Processor seconds are user and system time of all threads; loading torch is not in them.
    """
    started = time.process_time()
    found = run()
    processor = round(time.process_time() - started, 1)
    figures = {name: round(found[name], 4) for name in FIGURES if name in found}
    if history := found.get("history"):
        figures["history"] = [round(epoch.validation_accuracy, 4) for epoch in history]
    return figures | {
        "processor seconds": processor,
        "peak GiB": round(measure_peak() / GIBIBYTE, 2),
    }


def take_turns(recipes: list[str], stock: bool) -> dict[str, Any]:
    """Every recipe and the stock side, one after the other, each by this command with `--only`."""
    tried = {recipe: _run_alone(recipe) for recipe in recipes}
    chosen = max(tried, key=lambda recipe: tried[recipe]["validation"])
    report: dict[str, Any] = {"tunesmith": {"recipe": chosen, **tried[chosen]}}
    if len(tried) > 1:
        report["validation accuracy of all"] = {
            recipe: [one["validation"], one["processor seconds"]] for recipe, one in tried.items()
        }
    return report | ({STOCK: _run_alone(STOCK)} if stock else {})


def _run_alone(side: str) -> dict[str, Any]:
    command = [sys.executable, *sys.argv, "--only", side]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    shown = {name: value for name, value in found.items() if side == STOCK or name != "accuracy"}
    print(side, json.dumps(shown), file=sys.stderr, flush=True)
    return found
