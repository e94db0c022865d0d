"""What the pipeline itself costs, beside validation, encoding, training and evaluation.

    python benchmarks/orchestration.py reviews

Three figures: an unchanged run in a fresh process (median), a run in a fresh process, and a further
run in a process that has run a flow already. The runs that train change the seed each time, so that
nothing is taken from the store but what data, tokenizer and base model give; the cheapest strategy
is used, because only what stands around the stages is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

WORK = ("validate", "encode", "train", "evaluate")
CHEAP = ("--set", "strategy={kind: head}", "--set", "training.epochs=1")


def run(*words: str) -> tuple[float, dict[str, object]]:
    """Seconds of the whole process, and the JSON that it printed."""
    command = [sys.executable, "-m", "flows.cli", "run", *words, "--json"]
    started = time.perf_counter()
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return time.perf_counter() - started, json.loads(result.stdout)


def count_overhead(seconds: float, stages: dict[str, dict[str, float]]) -> float:
    """Seconds that no stage of the actual work accounts for."""
    return seconds - sum(stages[name]["seconds"] for name in WORK)


def run_twice(name: str, seed: int) -> list[float]:
    """Overheads of two runs, one after the other, in one fresh process."""
    code = f"""
import json, time
from pathlib import Path
from finetuning.pipelines import find_root
from flows.running import run_pipeline
found = []
for seed in ({seed}, {seed + 1}):
    began = time.perf_counter()
    words = ["strategy={{kind: head}}", "training.epochs=1", f"training.seed={{seed}}"]
    result = run_pipeline(find_root(Path.cwd()), {name!r}, words, True)
    found.append([time.perf_counter() - began, result["stages"]])
print(json.dumps(found))
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return [count_overhead(*one) for one in json.loads(result.stdout.splitlines()[-1])]


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    run(arguments.name, *CHEAP)
    unchanged = [run(arguments.name, *CHEAP)[0] for _ in range(3 * arguments.rounds)]
    pairs = [
        run_twice(arguments.name, arguments.seed + 2 * number) for number in range(arguments.rounds)
    ]
    report = {
        "unchanged run, fresh process": statistics.median(unchanged),
        "overhead, fresh process": statistics.median(first for first, _ in pairs),
        "overhead, process that has run a flow": statistics.median(later for _, later in pairs),
    }
    print(json.dumps({name: round(seconds, 2) for name, seconds in report.items()}, indent=1))


if __name__ == "__main__":
    main()
