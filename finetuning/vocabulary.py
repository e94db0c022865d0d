"""Training with only those word embeddings that the rows use.

A base model knows tens of thousands of tokens, a small data set uses a few thousand. The others get
no gradient, yet each step would clear, clip and update their rows with everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from finetuning.batching import has_tokens
from finetuning.models import Classifier
from finetuning.problem import Rows

# Special tokens stand at the front of most vocabularies and some models know them by number.
KEPT = 4


@contextmanager
def narrow_vocabulary(
    model: Classifier, rows: Rows, validation: Rows
) -> Iterator[tuple[Rows, Rows]]:
    """Keep only the embeddings that the rows use while the context is open.

    Rows of the table that are not used end as they began, weight decay included. Where a model
    knows its padding token by a number that would change, nothing is narrowed; nor where rows have
    no tokens, or where the model writes tokens.

    Args:
        model: The model; its embedding table is swapped, and put back whole at the end.
        rows: Training rows.
        validation: Validation rows.

    Yields:
        The same rows, their tokens numbered by the narrow table.
    """
    base = cast(Any, model.base)
    # Where words are written too, each step pushes every word's weight, used or not.
    given = rows, validation
    writes = getattr(base, "get_output_embeddings", lambda: None)() is not None
    if writes or not (has_tokens(rows) and has_tokens(validation)):
        yield given
        return
    whole: nn.Embedding = base.get_input_embeddings()
    first = np.arange(min(KEPT, whole.num_embeddings), dtype=rows.tokens.dtype)
    used = np.unique(np.concatenate([first, rows.tokens, validation.tokens]))
    padding = getattr(base.config, "pad_token_id", None)
    if type(whole) is not nn.Embedding or (padding is not None and padding >= KEPT):
        yield given
        return
    chosen = torch.from_numpy(used.astype(np.int64))
    weights = whole.weight.detach()[chosen].clone()
    size, width = weights.shape
    narrow = nn.Embedding(size, width, padding_idx=whole.padding_idx, _weight=weights)
    narrow.requires_grad_(whole.weight.requires_grad)
    base.set_input_embeddings(narrow)
    narrowed: tuple[Any, Any] = _renumber(rows, used), _renumber(validation, used)
    try:
        yield narrowed
    finally:
        with torch.no_grad():
            whole.weight[chosen] = narrow.weight.to(whole.weight)
        base.set_input_embeddings(whole)


def _renumber(rows: Any, used: np.ndarray) -> Any:
    return replace(rows, tokens=np.searchsorted(used, rows.tokens).astype(rows.tokens.dtype))
