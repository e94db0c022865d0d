"""Processes that a command starts beside itself: begun with a log, awaited, ended as a group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.request import ProxyHandler, build_opener

from finetuning.errors import TunesmithError
from finetuning.failures import explain, find_reason

HOST = "127.0.0.1"
STARTING = 120.0  # seconds that a server may take until it answers
STOPPING = 10.0  # seconds between asking a process to end and ending it


@dataclass
class Part:
    """One of the processes, and what is needed to start it again."""

    name: str
    command: list[str]
    environment: dict[str, str]
    log: Path | None = None
    health: str | None = None
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    due: float = 0.0  # when it is to be started again


def start(part: Part, root: Path) -> None:
    """Start a part in a session of its own, its output in its log or else on our own."""
    if part.log is not None:
        part.log.parent.mkdir(parents=True, exist_ok=True)
    mode = "ab" if part.failures else "wb"
    with part.log.open(mode) if part.log else nullcontext(sys.stderr.buffer) as output:
        part.process = subprocess.Popen(
            part.command,
            cwd=root,
            env=part.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    part.started, part.due = time.monotonic(), 0.0


def await_health(part: Part, stop: threading.Event) -> None:
    """Wait until a server answers; where it does not, say so with the end of its log."""
    while part.process is not None and part.health is not None and not stop.wait(0.2):
        ended = part.process.poll()
        if ended is not None or time.monotonic() - part.started > STARTING:
            reason = "does not answer" if ended is None else f"ended with code {ended}"
            said = part.log.read_text("utf-8", "replace") if part.log else ""
            raise TunesmithError(f"{part.name} {reason}. {explain_log(said)}")
        if is_healthy(part):
            return


def is_healthy(part: Part) -> bool:
    """Whether a server answers by now."""
    opener = build_opener(ProxyHandler({}))
    with suppress(OSError), opener.open(str(part.health), timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def explain_log(said: str) -> str:
    """Why a process failed, by what it said: its error and the remedy, or its last lines."""
    reason = find_reason(said)
    if reason is None:
        return "The end of its log:\n" + "\n".join(said.splitlines()[-10:])
    return str(explain(RuntimeError(reason)) or reason)


def end_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group that may have gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def end_part(part: Part) -> None:
    """Ask a part to end, and end it where it does not."""
    if part.process is None:
        return
    end_group(part.process.pid, signal.SIGTERM)
    try:
        part.process.wait(STOPPING)
    except subprocess.TimeoutExpired:
        end_group(part.process.pid, signal.SIGKILL)
        part.process.wait()
