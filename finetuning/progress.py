"""Progress bars on standard error: shown to a person, never to a file or under --json."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

QUIET = "TUNESMITH_QUIET"
Item = TypeVar("Item")


def track(items: Iterable[Item], description: str, total: int) -> Iterable[Item]:
    """The items, with a bar on standard error where a person is watching.

    Args:
        items: What is worked through.
        description: What the bar says.
        total: Number of items.
    """
    if os.environ.get(QUIET) or not sys.stderr.isatty():
        return items
    from tqdm import tqdm

    return tqdm(items, desc=description, total=total, leave=False, dynamic_ncols=True)


@contextmanager
def count(total: int, description: str, unit: str) -> Iterator[Callable[[int], object]]:
    """A bar like `track`'s that is told how many more are done.

    Args:
        total: How many there are.
        description: What the bar says.
        unit: What is counted.
    """
    if os.environ.get(QUIET) or not sys.stderr.isatty():
        yield lambda more: None  # noqa: ARG005 - nobody watches
        return
    from tqdm import tqdm

    with tqdm(desc=description, total=total, unit=f" {unit}", dynamic_ncols=True) as bar:
        yield bar.update
