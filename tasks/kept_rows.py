"""What earlier runs found out about rows and files: only new and changed ones are worked on.

It lies in the store beside the stages' outputs, under the digest of all that shapes it but the rows
themselves, and holds the rows of the last run alone. A missing or damaged one costs time, never a
wrong row.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.digests import digest_value
from finetuning.known_contents import Memory
from finetuning.locks import hold
from finetuning.pieces import Pool, load_pool, save_pool

if TYPE_CHECKING:
    from finetuning.store import Entry
    from tasks.planning import Work

ENCODED, MEASURED = "rows", "files"  # the store's folders
_FOUND = "found.json"
_OTHERS = ("data", "upstream")  # what of a stage's components speaks of the rows


def recall_pool(work: Work) -> Pool:
    """The rows that were encoded in the same way before; an empty pool where none are kept."""
    with _find(work, ENCODED, "encode") as entry:
        try:
            return Pool() if entry is None else load_pool(entry.folder)
        except (OSError, ValueError, KeyError):
            return Pool()


def keep_pool(work: Work, pool: Pool) -> None:
    """Keep the rows that were asked for for the next run, unless they are kept already."""
    if pool.made:

        def make(folder: Path) -> dict[str, Any]:
            save_pool(pool, folder)
            return {}

        _replace(work, ENCODED, "encode", make)


def recall_memory(work: Work) -> Memory:
    """What was found out about files before; nothing where that is not kept."""
    with _find(work, MEASURED, "snapshot") as entry:
        try:
            known = {} if entry is None else json.loads((entry.folder / _FOUND).read_text("utf-8"))
        except (OSError, ValueError):
            known = {}
    return Memory(known)


def keep_memory(work: Work, memory: Memory) -> None:
    """Keep what is known of the files for the next run, unless it is kept already."""
    if memory.made:

        def make(folder: Path) -> dict[str, Any]:
            (folder / _FOUND).write_text(json.dumps(memory.now), "utf-8")
            return {}

        _replace(work, MEASURED, "snapshot", make)


def name_kept(work: Work, stage: str) -> str:
    """The digest of all that shapes what a stage makes of a row, apart from the row."""
    components = work.plans[stage].components
    own = {kind: value for kind, value in components.items() if kind not in _OTHERS}
    return digest_value({"path": work.pipeline.data.path, **own})


@contextmanager
def _find(work: Work, folder: str, stage: str) -> Iterator[Entry | None]:
    digest = name_kept(work, stage)
    with hold(work.state / "locks" / f"{folder}-{digest[:16]}"):
        yield work.store.find(folder, digest)


def _replace(work: Work, folder: str, stage: str, make: Callable[[Path], dict[str, Any]]) -> None:
    digest = name_kept(work, stage)
    # Whoever else wants it waits, and finds this one or that of another run: either is right.
    with hold(work.state / "locks" / f"{folder}-{digest[:16]}"):
        work.store.discard(folder, digest)
        work.store.keep(folder, digest, make)
