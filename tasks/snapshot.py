"""Snapshot: the data set read once, split, and pinned for the rest of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import InputError
from finetuning.snapshots import digest_reading, digest_rows, spell_out, take_snapshot
from tasks.kept_rows import keep_memory, recall_memory
from tasks.pinned_data import is_unchanged, pin
from tasks.planning import READ
from tasks.stages import Outcome, perform, stage

if TYPE_CHECKING:
    import pandas

    from finetuning.known_contents import Memory
    from tasks.planning import Work

ROWS = "rows.parquet"


@stage("snapshot")
def snapshot(work: Work) -> Outcome:
    """Read the data set's tables and give every row its split."""
    told: list[str] = []
    outcome = perform(work, "snapshot", lambda folder: _make(work, folder, told))[0]
    return replace(outcome, why="; ".join([outcome.why, *told]))


def _make(work: Work, folder: Path, told: list[str]) -> dict[str, Any]:
    data, memory = work.pipeline.data, recall_memory(work)
    rows = _read(work, memory)
    keep_memory(work, memory)
    if kept := len(memory.now) - memory.made:
        told.append(f"read {memory.made:,} new images, {kept:,} kept")
    rows.to_parquet(folder / ROWS, index=False)
    return {
        "data_version": work.data.version,
        "rows": {split: int(count) for split, count in rows["split"].value_counts().items()},
        "digests": digest_rows(rows, data, work.pipeline.problem),
        READ: digest_reading(rows, data, work.pipeline.problem),
    }


def _read(work: Work, memory: Memory) -> pandas.DataFrame:
    """The rows of the version that the run began with, also where somebody changes data/ now."""
    data, folder = work.pipeline.data, pin(work)
    try:
        rows = take_snapshot(folder, data, work.pipeline.problem, memory)
    except (InputError, OSError):
        if is_unchanged(work):
            raise
    else:
        if is_unchanged(work) or folder != work.root / data.path:
            return rows
    return take_snapshot(pin(work), data, work.pipeline.problem, memory)


def read_rows(folder: Path) -> pandas.DataFrame:
    """The rows that a snapshot holds, every value text or None."""
    return spell_out(read_compact_rows(folder))


def read_compact_rows(folder: Path, without: Sequence[str] = ()) -> pandas.DataFrame:
    """The same rows, but for some columns, with their texts as pyarrow keeps them."""
    import pandas
    import pyarrow.parquet

    names = pyarrow.parquet.read_schema(folder / ROWS).names
    rows = pandas.read_parquet(folder / ROWS, columns=[n for n in names if n not in without])
    release_unused()  # what unpacking has left behind
    return rows


def read_column(folder: Path, name: str) -> pandas.Series[Any]:
    """One column of these rows."""
    import pandas

    return pandas.read_parquet(folder / ROWS, columns=[name])[name]


def release_unused() -> None:
    """Give back what pyarrow has freed: it keeps that for itself, hundreds of MiB of many rows."""
    import pyarrow

    pyarrow.default_memory_pool().release_unused()
