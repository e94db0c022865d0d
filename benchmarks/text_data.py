"""A strategy beside the stock recipe on texts: accuracy, seconds and peak memory of both.

    python benchmarks/text_data.py --train ../shared/data/snips/train.csv \
        --test ../shared/data/snips/valid.csv --strategy probe-then-tune --epochs 1

Each side runs in a process of its own, one after the other: ours with a pipeline's defaults and the
strategy, rate and epochs that are named, choosing its epoch on validation; the stock recipe as in
`against_stock.py`, transformers' Trainer at run_glue's defaults. Both learn from the same rows and
are scored once, on the test rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from against_stock import BASE, SETTINGS, make_pipeline, read_rows, run_ours, run_stock

from finetuning.sources import find_base
from finetuning.trials import measure_peak
from flows.environment import prepare_environment

SIDES = ("tunesmith", "stock")
GIBIBYTE = 2**30


def run_side(arguments: argparse.Namespace) -> dict[str, Any]:
    """One side's accuracy, seconds and peak memory, in this process."""
    prepare_environment(Path.cwd(), quiet=True)
    splits, classes = read_rows(arguments)
    base = find_base(BASE, None, Path.cwd())
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    if arguments.only == "stock":
        settings = SETTINGS | {"epochs": arguments.stock_epochs, "seed": arguments.seed}
        found = run_stock(splits, base.folder, classes, settings)
    else:
        settings = {
            "epochs": arguments.epochs, "learning_rate": arguments.learning_rate,
            "max_length": SETTINGS["max_length"], "seed": arguments.seed,
        }  # fmt: skip
        pipeline = make_pipeline(BASE, arguments.strategy, settings)
        found = run_ours(splits, base.folder, classes, pipeline)
    figures = {name: round(found[name], 4) for name in ("accuracy", "seconds")}
    return figures | {"peak GiB": round(measure_peak() / GIBIBYTE, 2)}


def main() -> None:
    """Run both sides and print them as one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--strategy", default="probe-then-tune")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--learning-rate", type=float, default=2e-4)
    parser.add_argument("--stock-epochs", type=int, default=3, help="run_glue's default is 3")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SIDES)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(run_side(arguments)))
        return
    report = {}
    for side in SIDES:
        command = [sys.executable, *sys.argv, "--only", side]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        report[side] = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
