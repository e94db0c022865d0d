"""Encode: rows become arrays, once for every run that reads them in the same way."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.labels import learn_labels
from finetuning.pieces import Pieces
from finetuning.problem import find_problem
from finetuning.snapshots import SPLITS, spell_out
from tasks.kept_rows import keep_pool, recall_pool
from tasks.pinned_data import pin
from tasks.snapshot import read_compact_rows, release_unused
from tasks.stages import Outcome, fetch, perform, stage

if TYPE_CHECKING:
    import pandas

    from finetuning.parts import Encoder
    from tasks.planning import Work


@stage("encode")
def encode(work: Work) -> Outcome:
    """Encode every split; rows without content or label cannot be learned from and are left."""
    told: list[str] = []
    outcome = perform(work, "encode", lambda folder: _make(work, folder, told))[0]
    return replace(outcome, why="; ".join([outcome.why, *told]))


def _make(work: Work, folder: Path, told: list[str]) -> dict[str, Any]:
    problem, columns = find_problem(work.pipeline.problem), work.pipeline.data.columns
    # The key tells by which pixels an image is known; of a text it only takes memory.
    unread = ("file", "row") if problem.reads_files else ("file", "row", "key")
    rows = read_compact_rows(fetch(work, "snapshot").folder, without=unread)
    labels: tuple[str, ...] = ()
    if problem.has_classes:
        labels = work.pipeline.data.labels or learn_labels(rows, columns)
    numbers = {label: number for number, label in enumerate(labels)}
    encoding = problem.encoding
    data = pin(work) if problem.reads_files else None
    encoder = encoding.open_encoder(work.base.folder, columns, work.pipeline.training, data)
    usable = encoding.find_usable(rows, columns) & rows["split"].isin(SPLITS)
    if problem.has_classes:
        usable &= rows[columns.label].isin(numbers)
    rows = rows if usable.all() else rows[usable]
    pool = recall_pool(work).complete(rows, SpelledOut(encoder))
    found = rows[columns.label].map(numbers) if problem.has_classes else -1
    classes = np.broadcast_to(np.asarray(found, np.int64), len(rows))
    members = {split: np.flatnonzero(rows["split"] == split) for split in SPLITS}
    index = rows.index.to_numpy(np.int64)
    del rows, found  # a third of the memory, and no longer needed
    release_unused()
    counts, longest = {}, 0
    for name, places in members.items():
        pieces = pool.select(pool.asked[places])
        encoded = encoder.join(pieces, classes[places], learning=name == "train")
        encoding.save_rows(encoded, folder / f"{name}.safetensors")
        np.save(folder / f"{name}.npy", index[places], allow_pickle=False)
        counts[name] = len(places)
        longest = max(longest, int(encoded.lengths.max(initial=0)))
    keep_pool(work, pool)
    if pool.kept:
        told.append(f"encoded {pool.made:,} new rows, {pool.kept:,} kept")
    return {"labels": list(labels), "rows": counts, "longest": longest}


@dataclass(frozen=True)
class SpelledOut:
    """An encoder that is given rows with their texts as objects of Python."""

    encoder: Encoder

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """See `pieces.Maker`."""
        return self.encoder.digest(spell_out(rows))

    def cut(self, rows: pandas.DataFrame, title: str) -> Pieces:
        """See `pieces.Maker`."""
        return self.encoder.cut(spell_out(rows), title)
