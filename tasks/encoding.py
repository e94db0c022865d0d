"""Encode: rows become arrays, once for every run that reads them in the same way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.labels import learn_labels
from finetuning.problem import find_problem
from finetuning.snapshots import SPLITS
from tasks.kept_rows import keep_pool, recall_pool
from tasks.pinned_data import pin
from tasks.snapshot import read_rows
from tasks.stages import Outcome, fetch, perform, stage

if TYPE_CHECKING:
    from tasks.planning import Work


@stage("encode")
def encode(work: Work) -> Outcome:
    """Encode every split; rows without content or label cannot be learned from and are left."""
    told: list[str] = []
    outcome = perform(work, "encode", lambda folder: _make(work, folder, told))[0]
    return replace(outcome, why="; ".join([outcome.why, *told]))


def _make(work: Work, folder: Path, told: list[str]) -> dict[str, Any]:
    rows = read_rows(fetch(work, "snapshot").folder)
    columns = work.pipeline.data.columns
    problem = find_problem(work.pipeline.problem)
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
    rows = rows[usable]
    digests = encoder.digest(rows)
    pool = recall_pool(work).complete(rows, digests, encoder)
    counts, longest = {}, 0
    for split in SPLITS:
        places = np.flatnonzero(rows["split"] == split)
        chosen = rows.iloc[places]
        found = chosen[columns.label].map(numbers) if problem.has_classes else -1
        classes = np.broadcast_to(np.asarray(found, np.int64), len(chosen))
        pieces = pool.select([digests[place] for place in places])
        encoded = encoder.join(pieces, classes, learning=split == "train")
        encoding.save_rows(encoded, folder / f"{split}.safetensors")
        np.save(folder / f"{split}.npy", chosen.index.to_numpy(np.int64), allow_pickle=False)
        counts[split] = len(chosen)
        longest = max(longest, int(encoded.lengths.max(initial=0)))
    keep_pool(work, pool, digests)
    if pool.kept:
        told.append(f"encoded {pool.made:,} new rows, {pool.kept:,} kept")
    return {"labels": list(labels), "rows": counts, "longest": longest}
