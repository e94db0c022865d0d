"""100 pipelines, 1,000 model versions and 10,000 flow runs: how long people and watch wait.

    python benchmarks/load.py
    python benchmarks/load.py --largest 900

Makes such a project in a temporary folder (see full_project.py), serves its Prefect database, and
takes the seconds of each command and pass in a fresh process, from its start to its end: watch with
nothing changed, with the data of all pipelines changed at once, and with all of their runs under
way. The model that history and lineage are asked for is the one with the most versions. A scan is
what the serving process does at its start, and every two seconds from then on.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from full_project import (
    Size,
    begin,
    commit_data,
    fill_prefect,
    fill_registry,
    run_example,
    write_table,
)

from flows.environment import prepare_environment
from flows.processes import HOST

CLI = ("-m", "flows.cli")
WATCH = "import json; from flows.watch import watch; print(json.dumps(watch()))"
SCAN = """
import asyncio, json, sys, time
from pathlib import Path
from flows.environment import prepare_environment
prepare_environment(Path.cwd(), quiet=True)
from prefect.runner import Runner
from flows.deployments import deploy_changed, deploy_others
from flows.upkeep import crash_orphans, limit_device

async def scan():
    runner, known, seconds = Runner(), {}, {}
    async def measure(name, action):
        began = time.perf_counter()
        await action
        seconds[name] = round(time.perf_counter() - began, 2)
    await measure("limit", limit_device())
    await measure("orphans", crash_orphans())
    await measure("all files", deploy_changed(Path.cwd(), runner, known))
    await measure("other flows", deploy_others(runner, runner))
    await measure("nothing changed", deploy_changed(Path.cwd(), runner, known))
    print(json.dumps(seconds))

asyncio.run(scan())
"""


@contextmanager
def serve(root: Path) -> Iterator[None]:
    """Prefect's server on the project's database, which commands find by the environment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "flows.server", str(port), str(os.getpid())]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.DEVNULL) as server:
        os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
        try:
            await_answer(f"http://{HOST}:{port}/api/health")
            yield
        finally:
            del os.environ["PREFECT_API_URL"]
            server.terminate()


def await_answer(url: str) -> None:
    """Wait until a server answers."""
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)


def call(root: Path, *words: str) -> tuple[dict[str, float], Any]:
    """Seconds of a fresh Python process, and the JSON that it prints."""
    began, spent = time.perf_counter(), sum(os.times()[2:4])
    done = subprocess.run(
        [sys.executable, *words], cwd=root, check=True, stdout=subprocess.PIPE, text=True
    )
    seconds = {"wall": time.perf_counter() - began, "processor": sum(os.times()[2:4]) - spent}
    return {kind: round(value, 2) for kind, value in seconds.items()}, json.loads(done.stdout)


def repeat(root: Path, rounds: int, *words: str) -> dict[str, float]:
    """Medians of a command's wall and processor seconds; a server's are not among the latter."""
    measured = [call(root, *words)[0] for _ in range(rounds)]
    return {kind: statistics.median(one[kind] for one in measured) for kind in measured[0]}


def main() -> None:
    """Measure and print one JSON object."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--pipelines", type=int, default=100)
    parser.add_argument("--versions", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--largest", type=int, help="versions of one model; left out, all alike")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="a new folder for the project, which stays")
    arguments = parser.parse_args()
    size = Size(arguments.pipelines, arguments.versions, arguments.runs, arguments.largest)
    for variable in ("PREFECT_API_URL", "PREFECT_HOME", "MLFLOW_TRACKING_URI"):
        os.environ.pop(variable, None)
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        root = arguments.keep or Path(folder) / "project"
        names = begin(root, size.pipelines)
        prepare_environment(root, quiet=True)
        example, *others = names
        run_example(root, example)
        fill_registry(root, others, size)
        with serve(root):
            first = call(root, "-c", SCAN)[1]
        began = time.perf_counter()
        fill_prefect(Path(os.environ["PREFECT_HOME"], "prefect.db"), names, size.runs)
        print(f"filled in {time.perf_counter() - began:.0f} s", file=sys.stderr)
        states = Counter(
            one["state"] for one in call(root, *CLI, "status", "--json")[1]["pipelines"]
        )
        report: dict[str, Any] = vars(size) | {
            "states": states,
            "status": repeat(root, arguments.rounds, *CLI, "status", "--json"),
            "history": repeat(root, arguments.rounds, *CLI, "history", others[0], "--json"),
            "lineage": repeat(
                root, arguments.rounds, *CLI, "lineage", f"{others[0]}@champion", "--json"
            ),
        }
        with serve(root):
            report["watch, nothing changed"] = repeat(root, arguments.rounds, "-c", WATCH)
            report["scan, new"], report["scan, restarted"] = first, call(root, "-c", SCAN)[1]
            for number, name in enumerate(names):
                write_table(root / "data" / name / "train.csv", seed=1000 + number)
            commit_data(root)
            report["watch, all data changed"], said = call(root, "-c", WATCH)
            report["started"] = sum(one.startswith("started") for one in said["data"].values())
            report["watch, all under way"] = repeat(root, arguments.rounds, "-c", WATCH)
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
