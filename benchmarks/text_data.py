"""A strategy beside the stock recipe on texts: accuracy, time and peak memory of both.

    python benchmarks/text_data.py --train ../shared/data/snips/train.csv \
        --test ../shared/data/snips/valid.csv --recipe probe-then-tune,epochs=1,learning_rate=2e-4

Each side runs in a process of its own, one after the other: ours with a pipeline's defaults and
what the recipe says, choosing its epoch (and of several recipes the recipe) on validation; the
stock recipe as in `against_stock.py`, transformers' Trainer at run_glue's defaults. Both learn from
the same rows and are scored on the same test rows, split off as a pipeline does where no table of
them is named.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from against_stock import BASE, SETTINGS, read_rows, run_ours, run_stock
from recipes import STOCK, add_sides, measure, read_recipe, take_turns

from finetuning.sources import find_base
from flows.environment import prepare_environment

RECIPE = "probe-then-tune,epochs=2,learning_rate=2e-4"


def run_side(arguments: argparse.Namespace) -> dict[str, Any]:
    """One side's figures, from this process."""
    prepare_environment(Path.cwd(), quiet=True)
    splits, classes = read_rows(arguments)
    base = find_base(BASE, None, Path.cwd())
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    folder, seed = base.folder, arguments.seed
    if arguments.only == STOCK:
        own = {"epochs": arguments.stock_epochs, "learning_rate": arguments.stock_learning_rate}
        settings = SETTINGS | own | {"seed": seed}
        return measure(lambda: run_stock(splits, folder, classes, settings))
    fixed = {"max_length": SETTINGS["max_length"], "seed": seed}
    pipeline = read_recipe(BASE, arguments.only, fixed)
    return measure(lambda: run_ours(splits, folder, classes, pipeline))


def main() -> None:
    """Run all sides and print them as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path)
    add_sides(parser, RECIPE)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run_side(arguments)))
        return
    report = take_turns(arguments.recipe or [RECIPE], arguments.stock_epochs > 0)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
