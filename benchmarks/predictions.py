"""`tunesmith predict` beside the loop that one would write: batches of 32 rows in the file's order.

    python benchmarks/predictions.py reviews@champion --input data/reviews/test.csv

Both answer the same rows with the same registered model, in turns in one process that has loaded
it; predict's side reads, scores, keeps parts and writes the output, the loop reads the table
whole, scores and writes it. Processor seconds count: a busy machine stretches them less.
Then the whole command is run on the rows and on `--times` as many, and the peak memory of the
command and of its model's process is compared.
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
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pyarrow

from finetuning.pipelines import find_root
from flows.environment import prepare_environment
from tasks import pyfunc_worker, scoring
from tasks.scorers import find_scorer

LOOKING = 0.02  # seconds between two looks at the memory
BATCH = 32


class Here:
    """A worker in this process: what `asking.Worker` lets a process of its own do."""

    def __init__(self, model: Any) -> None:
        self.model, self.has_answered, self.loading = model, False, 0.0

    def ask(self, table: pyarrow.Table) -> tuple[pyarrow.Table | None, dict[int, str]]:
        """See `asking.Worker`."""
        import pandas

        answers, faults = pyfunc_worker.ask(self.model, table.to_pandas(), None)
        return (pyarrow.Table.from_pandas(pandas.concat(answers)) if answers else None), faults


def time_predict(root: Path, label: str, model: Any, given: Path, output: Path) -> dict[str, float]:
    """Seconds of predict on a table, without the model's loading."""
    scoring.open_worker = lambda *_: nullcontext(Here(model))  # type: ignore[assignment]
    job = scoring.plan_job(root, label, given, output)
    began = time.process_time(), time.perf_counter()
    scoring.conclude(job, scoring.score(job, [].append))
    return {"processor": time.process_time() - began[0], "wall": time.perf_counter() - began[1]}


def time_loop(model: Any, column: str, given: Path, output: Path) -> dict[str, float]:
    """Seconds of the loop on a table."""
    import pandas

    began = time.process_time(), time.perf_counter()
    rows = pandas.read_csv(given, dtype=str, keep_default_na=False)
    answers = [
        model.predict(rows.iloc[start : start + BATCH][[column]])
        for start in range(0, len(rows), BATCH)
    ]
    rows.join(pandas.concat(answers), rsuffix=" predicted").to_csv(output, index=False)
    return {"processor": time.process_time() - began[0], "wall": time.perf_counter() - began[1]}


def find_peaks(command: list[str]) -> list[int]:
    """Peak memory in MiB of a command and of its children, the largest first."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peaks: dict[int, int] = {}
    while process.poll() is None:
        try:
            own = psutil.Process(process.pid)
            for one in (own, *own.children(recursive=True)):
                peaks[one.pid] = max(peaks.get(one.pid, 0), one.memory_info().rss)
        except psutil.Error:
            continue
        time.sleep(LOOKING)
    if process.returncode:
        raise SystemExit(f"{command} ended with code {process.returncode}")
    return sorted((peak // 2**20 for peak in peaks.values()), reverse=True)[:2]


def repeat(source: Path, target: Path, count: int) -> Path:
    """A csv file of so many rows of another, over and over; no cell may hold a line break."""
    with source.open("rb") as file:
        header, *rows = file.read().splitlines(keepends=True)
    with target.open("wb") as file:
        file.write(header)
        file.writelines(rows[place % len(rows)] for place in range(count))
    return target


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model")
    parser.add_argument("--input", type=Path, required=True, help="csv")
    parser.add_argument("--rows", type=int, default=2500)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--only", choices=("speed", "memory"))
    arguments = parser.parse_args()
    root = find_root(Path.cwd())
    prepare_environment(root, quiet=True)
    import mlflow

    scorer = find_scorer(root, arguments.model)
    report: dict[str, Any] = {"model": scorer.label, "rows": arguments.rows}
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        place = Path(folder)
        given = repeat(arguments.input, place / "given.csv", arguments.rows)
        if arguments.only != "memory":
            mlflow.set_tracking_uri(scorer.tracking_uri)
            model, (column,) = mlflow.pyfunc.load_model(scorer.uri), scorer.roles.values()
            model.predict([{column: "warm"}])
            ours, theirs = [], []
            for _ in range(arguments.rounds):
                ours.append(time_predict(root, scorer.label, model, given, place / "ours.csv"))
                theirs.append(time_loop(model, column, given, place / "theirs.csv"))
            for kind in ("processor", "wall"):
                speeds = [
                    [round(arguments.rows / one[kind], 1) for one in side]
                    for side in (ours, theirs)
                ]
                ratio = statistics.median(speeds[0]) / statistics.median(speeds[1])
                report[f"rows a {kind} second"] = {
                    "predict": speeds[0], "loop": speeds[1], "ratio of medians": round(ratio, 2),
                }  # fmt: skip
        if arguments.only != "speed":
            larger = repeat(given, place / "larger.csv", arguments.times * arguments.rows)
            for name, table in (("once", given), (f"{arguments.times} times", larger)):
                words = ["predict", scorer.label, "--input", str(table), "--output"]
                command = [*words, str(place / f"{table.stem}.out.csv")]
                report[f"peak MiB, rows {name}"] = find_peaks(
                    [sys.executable, "-m", "flows.cli", *command]
                )
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("TUNESMITH_QUIET", "1")
    main()
