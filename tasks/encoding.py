"""Encode: texts become token ids, once for every run that uses the same tokenizer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.batching import save_rows
from finetuning.problems.text_classification import encode as tokenize
from finetuning.problems.text_classification import learn_labels, load_tokenizer
from finetuning.snapshots import SPLITS
from tasks.snapshot import read_rows
from tasks.stages import Outcome, fetch, perform, stage

if TYPE_CHECKING:
    from tasks.planning import Work


@stage("encode")
def encode(work: Work) -> Outcome:
    """Tokenize every split; rows without text or label cannot be learned from and are left."""
    return perform(work, "encode", lambda folder: _make(work, folder))[0]


def _make(work: Work, folder: Path) -> dict[str, Any]:
    rows = read_rows(fetch(work, "snapshot").folder)
    columns = work.pipeline.data.columns
    labels = work.pipeline.data.labels or learn_labels(rows, columns)
    numbers = {label: number for number, label in enumerate(labels)}
    tokenizer = load_tokenizer(work.base.folder)
    usable = rows[columns.text].notna() & rows[columns.label].isin(numbers)
    counts, longest = {}, 0
    for split in SPLITS:
        chosen = rows[usable & (rows["split"] == split)]
        pairs = columns.text_pair
        encoded = tokenize(
            tokenizer,
            chosen[columns.text].tolist(),
            None if pairs is None else chosen[pairs].fillna("").tolist(),
            chosen[columns.label].map(numbers).to_numpy(np.int64),
            work.pipeline.training.max_length,
            f"encoding {split}",
        )
        save_rows(encoded, folder / f"{split}.safetensors")
        np.save(folder / f"{split}.npy", chosen.index.to_numpy(np.int64), allow_pickle=False)
        counts[split] = len(encoded)
        longest = max(longest, int(encoded.lengths.max(initial=0)))
    return {"labels": list(labels), "rows": counts, "longest": longest}
