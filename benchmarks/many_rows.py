"""Millions of short rows: seconds and peak memory of snapshot, validate and encode.

    python benchmarks/many_rows.py --rows 500000
    python benchmarks/many_rows.py --rows 5000000 --keep FOLDER --only encode

Writes a csv file of distinct sentences of about twelve words into a temporary project, and runs
each stage on what the stages before it left, in a process of its own, without Prefect's server.
The peak is the process's resident memory, all libraries included; what it had before the stage
began is named beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from finetuning.config import Pipeline
from finetuning.sources import find_base
from flows.environment import prepare_environment
from tasks.data_files import hash_folder
from tasks.data_state import DataVersion, folder_version
from tasks.planning import Work, plan

BASE = "sentence-transformers/all-MiniLM-L6-v2"
DATA = "data/rows"
STAGES = ("snapshot", "validate", "encode")
MIB = 2**10  # of the kibibytes that the system counts in
SUBJECTS = ("The camera", "This phone", "My old printer", "The second film", "A used car")
VERBS = ("turned out", "seems", "was", "proved", "looked", "felt", "became", "remained")
QUALITIES = {
    "con": ("noisy", "slow", "dull", "fragile", "heavy", "awful"),
    "pro": ("quick", "quiet", "sturdy", "light", "superb", "pleasant"),
}
ENDS = ("after a week of use", "on the first day", "for what it costs", "even in the rain")


def write_rows(path: Path, count: int) -> None:
    """A table of so many distinct labelled sentences."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        file.write("text,label\n")
        for number in range(count):
            label = tuple(QUALITIES)[number % 2]
            words = (
                draw.choice(SUBJECTS), draw.choice(VERBS), draw.choice(QUALITIES[label]),
                draw.choice(ENDS),
            )  # fmt: skip
            file.write(f"{' '.join(words)} number {number},{label}\n")


def make_work(root: Path) -> Work:
    """The work of a run on the table."""
    content = {
        "name": "rows",
        "problem": "text-classification",
        "data": {"path": DATA, "train": "train.csv"},
        "model": {"base": BASE},
        "training": {"max_length": 64},
    }
    base = find_base(BASE, None, root)
    if base is None:
        raise SystemExit(f"{BASE} is not at hand: pip install 'tunesmith[sample]'")
    files = hash_folder(root, DATA)
    data = DataVersion(folder_version(files), None, files, True)
    return plan(root, Pipeline.model_validate(content), data, base)


def perform(root: Path, name: str) -> dict[str, Any]:
    """Run one stage here; seconds, and the memory before it and at the peak in MiB."""
    from prefect.logging import disable_run_logger

    from tasks.checking import validate
    from tasks.encoding import encode
    from tasks.snapshot import snapshot

    work = make_work(root)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.perf_counter(), time.process_time()
    with disable_run_logger():
        {"snapshot": snapshot, "validate": validate, "encode": encode}[name].fn(work)
    return {
        "seconds": round(time.perf_counter() - began[0], 1),
        "processor seconds": round(time.process_time() - began[1], 1),
        "before": before // MIB,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // MIB,
    }


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--keep", type=Path, help="folder of the project, which stays")
    parser.add_argument("--only", choices=STAGES, action="append")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)  # in the own process
    arguments = parser.parse_args()
    if arguments.stage:
        prepare_environment(arguments.keep, quiet=True)
        print(json.dumps(perform(arguments.keep, arguments.stage)))
        return
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        root = arguments.keep or Path(folder)
        if not (table := root / DATA / "train.csv").is_file():
            write_rows(table, arguments.rows)
        report: dict[str, Any] = {"rows": arguments.rows, "bytes": table.stat().st_size}
        for name in arguments.only or STAGES:
            command = [sys.executable, __file__, "--keep", str(root), "--stage", name]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            report[name] = json.loads(done.stdout)
            print(name, report[name], file=sys.stderr, flush=True)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    os.environ.setdefault("TUNESMITH_QUIET", "1")
    main()
