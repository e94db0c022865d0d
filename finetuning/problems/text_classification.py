"""Text classification: a sentence, or a pair of sentences, and a label."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.batching import EncodedRows
from finetuning.progress import track

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns

ROWS_A_CALL = 2000


def load_tokenizer(folder: Path) -> Any:
    """The base model's tokenizer, with a padding token for whoever pads by it."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def learn_labels(rows: pandas.DataFrame, columns: Columns) -> tuple[str, ...]:
    """The labels of the training rows, in order; numbers are ordered as numbers."""
    labels = set(rows.loc[rows["split"] == "train", columns.label].dropna())
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return tuple(sorted(labels))
    if any(map(math.isnan, numbers.values())):  # the text "nan", which has no place in an order
        return tuple(sorted(labels))
    return tuple(sorted(labels, key=lambda label: (numbers[label], label)))


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: np.ndarray,
    max_length: int,
    title: str = "encoding",
) -> EncodedRows:
    """Tokenize texts (or pairs), each cut at max_length tokens.

    Args:
        tokenizer: As `load_tokenizer` gives it.
        texts: First texts.
        pairs: Second texts of the same rows, or None.
        labels: int64, (rows,).
        max_length: Longest row in tokens; of a pair the longer text is cut first.
        title: What the progress bar says.
    """
    limit = min(max_length, tokenizer.model_max_length)
    ids: list[list[int]] = []
    types: list[list[int]] = []
    starts = range(0, len(texts), ROWS_A_CALL)
    for start in track(starts, title, len(starts)):
        end = start + ROWS_A_CALL
        encoded = tokenizer(
            list(texts[start:end]),
            None if pairs is None else list(pairs[start:end]),
            truncation=True,
            max_length=limit,
            return_attention_mask=False,
        )
        # An empty text of a tokenizer without special tokens still needs one token to stand on.
        ids += [row or [tokenizer.eos_token_id or 0] for row in encoded["input_ids"]]
        if pairs is not None and "token_type_ids" in encoded:
            types += [row or [0] for row in encoded["token_type_ids"]]
    lengths = np.fromiter((len(row) for row in ids), np.int64, len(ids))
    return EncodedRows(
        tokens=_join(ids, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=labels,
        types=_join(types, np.int8) if types else None,
    )


def _join(rows: list[list[int]], kind: type[np.generic]) -> np.ndarray:
    return np.fromiter((token for row in rows for token in row), dtype=kind)
