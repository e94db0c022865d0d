"""What the pipeline itself costs, beside validation, encoding, training and evaluation.

    python benchmarks/orchestration.py reviews

Works on a copy of the project, without its state and its registry. Printed are the medians of an
unchanged run's seconds, and of what runs cost beside the stages that do the work: the first one
(neither Prefect's nor MLflow's database is there yet), others in fresh processes, and ones in a
process that has run a flow already. Fresh processes are counted from their start to their end.

The cheapest strategy is used, because only what stands around the stages is measured, and another
seed each time, so that nothing but snapshot, validation, tokens and frozen features is kept. The
gate's own process, in which the registered model is loaded and answers the test rows once more, is
an evaluation: its seconds are given by themselves. Imports count where they happen, so that those
of transformers are the training's.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any

from finetuning.pipelines import find_root

WORK = ("validate", "encode", "train", "evaluate")
# Nothing is refused: a run that ends early costs less.
CHEAP = (
    "strategy={kind: head}", "training.epochs=1", "gate.minimum=0", "gate.behaviour=[]",
)  # fmt: skip
STATE = (".tunesmith", "mlruns", ".venv", "__pycache__")
CODE = """
import json, sys, time
from pathlib import Path
from flows.running import run_pipeline
from tasks import answering

asked, ask = [], answering._run

def take_time(*words):
    began = time.perf_counter()
    try:
        return ask(*words)
    finally:
        asked.append(time.perf_counter() - began)

answering._run = take_time
name, overrides, *seeds = json.loads(sys.argv[1])
for seed in seeds:
    began = time.perf_counter()
    asked.clear()
    result = run_pipeline(Path.cwd(), name, [*overrides, f"training.seed={seed}"], True)
    print(json.dumps({
        "status": result["status"],
        "seconds": time.perf_counter() - began,
        "stages": {stage: one["seconds"] for stage, one in result["stages"].items()},
        "gate": sum(asked),
    }))
"""


def run(project: Path, name: str, seeds: list[int]) -> list[dict[str, Any]]:
    """Runs, one after the other, in one fresh process; all of it counts for the only one."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps([name, CHEAP, *seeds])],
        cwd=project,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    if len(found) == 1:
        found[0]["seconds"] = time.perf_counter() - started
    return found


def count_overhead(one: dict[str, Any]) -> float:
    """Seconds that neither the stages that do the work nor the gate's own process account for."""
    return float(one["seconds"] - sum(one["stages"][name] for name in WORK) - one["gate"])


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("name")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    for variable in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        os.environ.pop(variable, None)
    seeds = count()
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        project = Path(folder) / "project"
        shutil.copytree(
            find_root(Path.cwd()), project, symlinks=True, ignore=shutil.ignore_patterns(*STATE)
        )
        first = run(project, arguments.name, [next(seeds)])[0]
        unchanged = [run(project, arguments.name, [0])[0] for _ in range(3 * arguments.rounds)]
        fresh, later = [], []
        for _ in range(arguments.rounds):
            fresh.append(run(project, arguments.name, [next(seeds)])[0])
            later.append(run(project, arguments.name, [next(seeds), next(seeds)])[1])
    statuses = {one["status"] for one in (first, *fresh, *later)}
    if statuses != {"registered"} or {one["status"] for one in unchanged} != {"unchanged"}:
        raise SystemExit(f"these are not the runs that are to be measured: {statuses}")
    median = statistics.median
    report = {
        "unchanged run, fresh process": median(one["seconds"] for one in unchanged),
        "overhead, first run of a project": count_overhead(first),
        "overhead, fresh process": median(map(count_overhead, fresh)),
        "overhead, process that has run a flow": median(map(count_overhead, later)),
        "the gate's own process": median(one["gate"] for one in (first, *fresh, *later)),
        "register, without it": median(one["stages"]["register"] - one["gate"] for one in later),
    }
    print(json.dumps({name: round(seconds, 2) for name, seconds in report.items()}, indent=1))


if __name__ == "__main__":
    main()
