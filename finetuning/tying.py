"""A head that writes with the word embeddings' own weight, and when it gets one of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from finetuning.models import ADAPTER, is_tied


def separate(model: Any, table: Sequence[Sequence[float]]) -> bool:
    """Give a head that is tied to the embeddings a copy where a strategy needs one.

    Where some epoch trains the head and not the embeddings, one weight cannot be both: from then on
    the model has two, and its files hold both. In any other table the tied weight goes with the
    embeddings. Adapters train neither.

    Args:
        model: The model; changed in place.
        table: Epoch x layer group -> multiplier of the learning rate, see `strategies.tabulate`.

    Returns:
        Whether the head has a copy now: the layer groups are then others.
    """
    base, head = model.base, model.head
    if not is_tied(model) or any(ADAPTER in name for name, _ in base.named_parameters()):
        return False
    if not any(rates[-1] > 0 and rates[0] == 0 for rates in table):
        return False
    head.weight = nn.Parameter(head.weight.detach().clone())
    base.config.tie_word_embeddings = False
    base.all_tied_weights_keys = {}  # what transformers would tie again
    return True
