"""What the machine itself has: Python, packages, device, disk, ports."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Literal

from flows.environment import TELEMETRY_OFF
from tasks.data_state import DATA
from tasks.planning import STATE
from tasks.registry import DATABASE

Status = Literal["ok", "warning", "problem"]
Check = dict[str, str]
PROJECT = "tunesmith"
LEAST_FREE = 2 * 2**30  # bytes
WHY_PINNED = {
    "fastapi": "Prefect's server does not start with FastAPI 0.155 and later.",
    "prefect": "It goes with the FastAPI that its server starts with.",
}
MARKS = {"ok": "✓", "warning": "!", "problem": "✗"}


def say(name: str, status: Status, found: str, remedy: str = "") -> Check:
    """One finding of a check."""
    return {"name": name, "status": status, "found": found, "remedy": remedy}


def check_python() -> Iterator[Check]:
    """Whether this Python is new enough."""
    remedy = "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer."
    yield say("python", "problem" if remedy else "ok", platform.python_version(), remedy)


def check_packages() -> Iterator[Check]:
    """Whether the packages are there, in the versions that work together."""
    from packaging.requirements import Requirement

    if _find_version(PROJECT) is None:
        yield say("packages", "problem", f"{PROJECT} is not installed", "pip install -e .")
        return
    wrong = 0
    wanted = [Requirement(line) for line in metadata.requires(PROJECT) or []]
    wanted = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    for one in wanted:
        version = _find_version(one.name)
        if version is not None and one.specifier.contains(version, prereleases=True):
            continue
        found = "missing" if version is None else f"{version}, wanted {one.specifier}"
        remedy = f"pip install '{one.name}{one.specifier}'. {WHY_PINNED.get(one.name, '')}".strip()
        yield say(f"package {one.name}", "problem", found, remedy)
        wrong += 1
    if not wrong:
        yield say("packages", "ok", f"all {len(wanted)} in the range that goes together")


def _find_version(package: str) -> str | None:
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return None


def check_device() -> Iterator[Check]:
    """What the machine computes on."""
    import torch

    from finetuning.determinism import measure_determinism
    from finetuning.devices import choose_device

    device = choose_device()
    native = "bf16 is native" if device.precision == "bf16" else "no native bf16: fp32 is used"
    found = f"{device.kind}, {device.name}, torch {torch.__version__}, {native}"
    remedy = ""
    if device.kind == "cpu" and shutil.which("nvidia-smi"):
        remedy = "There is an NVIDIA driver, but torch finds no GPU: install a CUDA build of torch."
    yield say("device", "warning" if remedy else "ok", found, remedy)
    if device.kind == "cuda":
        cost = measure_determinism(device)
        steps = ", ".join(f"{ratio:.2f} times as long for {name}" for name, ratio in cost.items())
        yield say("determinism", "ok", f"with training.deterministic: true a step takes {steps}")
    threads = torch.get_num_threads()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    many = cores is not None and threads > cores
    remedy = f"They slow each other down: export OMP_NUM_THREADS={cores}" if many else ""
    yield say("threads", "warning" if many else "ok", f"{threads} on {cores} cores", remedy)


def check_folders(root: Path) -> Iterator[Check]:
    """Whether the project's folders can be written to."""
    for folder in (STATE, Path(DATABASE).parent.as_posix(), DATA):
        place = root / folder
        if place.exists() and not place.is_dir():
            yield say(f"folder {folder}", "problem", "a file", "Move it away: a folder goes here.")
            continue
        # A folder that is not there yet is made by the first run, in the one above it.
        nearest = place if place.is_dir() else root
        try:
            with tempfile.TemporaryFile(dir=nearest):
                pass
        except OSError as error:
            found = f"cannot be written to: {error.strerror}"
            yield say(f"folder {folder}", "problem", found, f"Make {folder}/ writable for you.")
            continue
        yield say(f"folder {folder}", "ok", "writable" if nearest is place else "made when needed")


def check_disk(root: Path) -> Iterator[Check]:
    """Whether there is room on the disk."""
    free = shutil.disk_usage(root).free
    found = f"{free / 2**30:.1f} GiB free"
    remedy = f"Checkpoints and models need room: free some, or remove old entries of {STATE}/store."
    short = free < LEAST_FREE
    yield say("disk", "warning" if short else "ok", found, remedy if short else "")


def check_ports() -> Iterator[Check]:
    """Whether the servers' ports are free."""
    for port, whose in ((4200, "Prefect"), (5000, "MLflow")):
        with socket.socket() as one:
            one.settimeout(0.3)
            taken = one.connect_ex(("127.0.0.1", port)) == 0
        found = "in use (by `tunesmith up`?)" if taken else "free"
        remedy = f"To use another: tunesmith up --{whose.lower()}-port PORT" if taken else ""
        yield say(f"port {port}", "ok", f"{found}, for {whose}'s UI", remedy)


def check_telemetry() -> Iterator[Check]:
    """Whether every library's telemetry is off."""
    # prepare_environment turns it off whatever the user's own environment says.
    off = all(os.environ.get(name) == value for name, value in TELEMETRY_OFF.items())
    yield say("telemetry", "ok" if off else "problem", "off" if off else "not off everywhere")
