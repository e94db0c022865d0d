"""Locks between processes, and folders that are being filled: whoever dies lets go of both."""

from __future__ import annotations

import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LOCK = "lock"
_CONTENT = "content"
_SETTLED = 60.0  # seconds; a younger folder may have an owner that has not locked it yet


@contextmanager
def hold(path: Path, say_waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold a lock file; within a process it can be held again by whoever holds it.

    The lock is the operating system's (flock): it ends with the process, however that ends.

    Args:
        path: The file; its folder is made.
        say_waiting: Called once where another process holds it.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, thread_local=False, is_singleton=True)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        if say_waiting is not None:
            say_waiting()
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def fill(place: Path, name: str) -> Iterator[Path]:
    """An empty folder beside what it will become; to keep it, rename it.

    What an earlier process left half filled in `place` is removed first.

    Args:
        place: The folder that it lies in, hidden.
        name: What it will be, for whoever looks.
    """
    place.mkdir(parents=True, exist_ok=True)
    sweep(place)
    temporary = place / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
    temporary.mkdir()
    try:
        with hold(temporary / _LOCK):
            content = temporary / _CONTENT
            content.mkdir()
            yield content
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(place: Path) -> None:
    """Remove what processes that have ended left half filled in a folder.

    Whether one still fills a folder is asked of its lock and not of a process id, which says
    nothing on a folder that machines share.
    """
    from filelock import FileLock, Timeout

    for left in place.glob(".*.tmp"):
        # What is removed, or cannot be, between two looks is another process's or nobody's.
        with suppress(OSError, Timeout):
            if time.time() - left.stat().st_mtime < _SETTLED:
                continue
            with FileLock(left / _LOCK, blocking=False):
                shutil.rmtree(left, ignore_errors=True)
