"""A file of the project that wakes the serving process: it asks at once for runs that are due.

Else a run waits for the next question of Prefect's runner. Whoever creates one touches the file,
after that: a touch too many costs a question, one that is missed costs half a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from tasks.planning import STATE

FILE = "wake"  # in the project's state
LOOKING = 0.05  # seconds between two looks at it


def wake(root: Path) -> None:
    """Let the serving process of this project, if there is one, ask for runs that are due."""
    with contextlib.suppress(OSError):  # a run that is created begins without it, too
        if (root / STATE).is_dir():
            (root / STATE / FILE).touch()


async def answer_wakes(root: Path, ask: Callable[[], Awaitable[object]]) -> None:
    """Ask whenever the file was touched, for ever."""
    seen = _read_touch(root)
    while True:
        await asyncio.sleep(LOOKING)
        if (touched := _read_touch(root)) != seen:
            seen = touched
            with contextlib.suppress(Exception):  # the runner's own question comes soon, and tells
                await ask()


def _read_touch(root: Path) -> int:
    try:
        return (root / STATE / FILE).stat().st_mtime_ns
    except OSError:
        return 0
