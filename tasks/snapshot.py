"""Snapshot: the data set read once, split, and pinned for the rest of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import TunesmithError
from finetuning.snapshots import digest_rows, spell_out, take_snapshot
from tasks.data_files import hash_folder
from tasks.kept_rows import keep_memory, recall_memory
from tasks.stages import Outcome, perform, stage

if TYPE_CHECKING:
    import pandas

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
    rows = take_snapshot(work.root / data.path, data, work.pipeline.problem, memory)
    if hash_folder(work.root, data.path) != work.data.files:
        raise TunesmithError(f"{data.path} was changed while it was read: run again")
    keep_memory(work, memory)
    if kept := len(memory.now) - memory.made:
        told.append(f"read {memory.made:,} new images, {kept:,} kept")
    rows.to_parquet(folder / ROWS, index=False)
    return {
        "data_version": work.data.version,
        "rows": {split: int(count) for split, count in rows["split"].value_counts().items()},
        "digests": digest_rows(rows, data, work.pipeline.problem),
    }


def read_rows(folder: Path) -> pandas.DataFrame:
    """The rows that a snapshot holds, every value text or None."""
    return spell_out(read_compact_rows(folder))


def read_compact_rows(folder: Path, without: Sequence[str] = ()) -> pandas.DataFrame:
    """The same rows, but for some columns, with their texts as pyarrow keeps them."""
    import pandas
    import pyarrow.parquet

    names = pyarrow.parquet.read_schema(folder / ROWS).names
    rows = pandas.read_parquet(folder / ROWS, columns=[n for n in names if n not in without])
    pyarrow.default_memory_pool().release_unused()  # what unpacking has left behind
    return rows
