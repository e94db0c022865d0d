"""Encode: rows become arrays, once for every run that reads them in the same way."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.labels import learn_labels
from finetuning.problem import find_problem
from finetuning.snapshots import SPLITS
from tasks.snapshot import read_rows
from tasks.stages import Outcome, fetch, perform, stage

if TYPE_CHECKING:
    from tasks.planning import Work


@stage("encode")
def encode(work: Work) -> Outcome:
    """Encode every split; rows without content or label cannot be learned from and are left."""
    return perform(work, "encode", lambda folder: _make(work, folder))[0]


def _make(work: Work, folder: Path) -> dict[str, Any]:
    rows = read_rows(fetch(work, "snapshot").folder)
    columns = work.pipeline.data.columns
    problem = find_problem(work.pipeline.problem)
    labels: tuple[str, ...] = ()
    if problem.has_classes:
        labels = work.pipeline.data.labels or learn_labels(rows, columns)
    numbers = {label: number for number, label in enumerate(labels)}
    encoding = problem.encoding
    encoder = encoding.open_encoder(
        work.base.folder, columns, work.pipeline.training, work.root / work.pipeline.data.path
    )
    usable = encoding.find_usable(rows, columns)
    if problem.has_classes:
        usable &= rows[columns.label].isin(numbers)
    counts, longest = {}, 0
    for split in SPLITS:
        chosen = rows[usable & (rows["split"] == split)]
        found = chosen[columns.label].map(numbers) if problem.has_classes else -1
        classes = np.broadcast_to(np.asarray(found, np.int64), len(chosen))
        encoded = encoder.encode(chosen, classes, f"encoding {split}", learning=split == "train")
        encoding.save_rows(encoded, folder / f"{split}.safetensors")
        np.save(folder / f"{split}.npy", chosen.index.to_numpy(np.int64), allow_pickle=False)
        counts[split] = len(chosen)
        longest = max(longest, int(encoded.lengths.max(initial=0)))
    return {"labels": list(labels), "rows": counts, "longest": longest}
