"""Which processes are at work: marks that tell one from another, and notes of those in flow runs.

A note is a file of the project's state, named after the flow run. It goes when the run ends; one
that is left of a killed process tells `watch` that nobody runs that flow run any more.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from finetuning.digests import write_atomically
from tasks.planning import STATE

FOLDER = "running"
LATEST = 2.0  # seconds by which the system may tell a process's beginning differently


def mark_process() -> str:
    """What tells this process from every other one: its machine, number and beginning."""
    import psutil  # type: ignore[import-untyped]  # it has no types

    own = psutil.Process()
    return f"{socket.gethostname()} {own.pid} {own.create_time():.0f}"


def has_gone(mark: str) -> bool | None:
    """Whether a process has ended; None where it is another machine's."""
    import psutil

    host, _, process = mark.partition(" ")
    if host != socket.gethostname():
        return None
    number, began = process.split()
    try:
        # Another process may have taken the number since.
        return bool(abs(psutil.Process(int(number)).create_time() - float(began)) > LATEST)
    except psutil.Error:
        return True


@contextmanager
def note_flow_run(root: Path) -> Iterator[None]:
    """Note that this process runs the present flow run, if there is one, for as long as it does."""
    identifier = None
    if "prefect" in sys.modules:  # whoever only looks whether anything changed needs none
        from prefect.runtime import flow_run

        identifier = flow_run.get_id()
    if identifier is None:
        yield
        return
    note = root / STATE / FOLDER / str(identifier)
    write_atomically(note, mark_process())
    try:
        yield
    finally:
        note.unlink(missing_ok=True)


def list_gone(root: Path) -> list[Path]:
    """The notes of flow runs whose process has gone without ending them."""
    return [
        note
        for note in sorted((root / STATE / FOLDER).glob("*-*"))
        if has_gone(note.read_text("utf-8"))
    ]
