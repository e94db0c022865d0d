"""`tunesmith predict` beside the loop that one would write: batches of 32 rows in the file's order.

    python benchmarks/predictions.py reviews@champion --input data/reviews/test.csv

Both answer the same rows with the same registered model, in turns, each in a fresh process; printed
are the medians of the rows a second once the model is loaded, and the whole seconds. Then the rows
are taken `--times` over, and the peak memory of the model's process and of the command is compared
with that for the rows once.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from finetuning.pipelines import find_root
from finetuning.streams import find_source
from tasks.scorers import find_scorer

LOOP = """
import json, os, sys, time
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
import mlflow, pandas
tracking_uri, uri, path, column = sys.argv[1:]
mlflow.set_tracking_uri(tracking_uri)
model = mlflow.pyfunc.load_model(uri)
began = time.perf_counter()
rows, answers = pandas.read_csv(path, dtype=str, keep_default_na=False), []
for start in range(0, len(rows), 32):
    answers.append(model.predict(rows.iloc[start : start + 32][[column]]))
pandas.concat(answers).to_csv(os.devnull, index=False)
print(json.dumps({"rows_per_second": len(rows) / (time.perf_counter() - began)}))
"""
LOOKING = 0.02  # seconds between two looks at the memory


def run(command: list[str]) -> dict[str, Any]:
    """What a command prints, its seconds, and its and its children's peak memory in MiB."""
    environment = os.environ | {"TUNESMITH_QUIET": "1"}
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    peaks: dict[int, int] = {}
    while process.poll() is None:
        for one in find_processes(process.pid):
            try:
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
            except psutil.Error:
                continue
        time.sleep(LOOKING)
    assert process.stdout is not None
    printed = process.stdout.read().splitlines()
    if process.returncode:
        raise SystemExit(f"{command} ended with code {process.returncode}: {printed}")
    found: dict[str, Any] = json.loads(printed[-1])
    return found | {
        "seconds": time.perf_counter() - began,
        "peaks": sorted((peak // 2**20 for peak in peaks.values()), reverse=True)[:2],
    }


def find_processes(number: int) -> list[psutil.Process]:
    """A process and its children."""
    try:
        process = psutil.Process(number)
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def repeat(source: Path, target: Path, times: int) -> Path:
    """A csv file with the rows of another so many times over."""
    with source.open("rb") as file:
        header, rows = file.readline(), file.read()
    with target.open("wb") as file:
        file.write(header)
        for _ in range(times):
            file.write(rows)
    return target


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--input", type=Path, required=True, help="csv")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=10)
    arguments = parser.parse_args()
    scorer = find_scorer(find_root(Path.cwd()), arguments.model)
    rows = find_source(arguments.input, "--input").rows
    (column,) = scorer.roles.values()
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        place = Path(folder)

        def predict(given: Path, output: str) -> list[str]:
            words = ["predict", scorer.label, "--input", str(given), "--output"]
            return [sys.executable, "-m", "flows.cli", *words, str(place / output), "--json"]

        loop = [sys.executable, "-c", LOOP, scorer.tracking_uri, scorer.uri,
                str(arguments.input), column]  # fmt: skip
        ours, theirs = [], []
        for number in range(arguments.rounds):
            ours.append(run(predict(arguments.input, f"{number}.csv")))
            theirs.append(run(loop))
        larger = repeat(arguments.input, place / "larger.csv", arguments.times)
        grown = run(predict(larger, "larger.out.csv"))
    median = statistics.median
    report = {
        "rows": rows,
        "rows a second": {
            "predict": [round(one["rows_per_second"], 1) for one in ours],
            "loop": [round(one["rows_per_second"], 1) for one in theirs],
            "ratio of medians": round(
                median(one["rows_per_second"] for one in ours)
                / median(one["rows_per_second"] for one in theirs),
                2,
            ),
        },
        "seconds": {
            "predict": median(round(one["seconds"], 1) for one in ours),
            "loop": median(round(one["seconds"], 1) for one in theirs),
        },
        "peak MiB": {"rows once": ours[0]["peaks"], f"{arguments.times} times": grown["peaks"]},
    }
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
