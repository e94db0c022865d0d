"""A strategy is a table: epoch x layer group -> multiplier of the learning rate; 0 is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from finetuning.config import Strategy

Table = tuple[tuple[float, ...], ...]


def tabulate(strategy: Strategy, epochs: int, groups: int) -> Table:
    """The table of a strategy, one row an epoch, one column a group from bottom to head.

    `gradual` thaws one more group an epoch from the top (ULMFiT, arXiv 1801.06146, section 3.2);
    `discriminative` falls by a constant factor a group downwards (the same, and fastai's
    `slice(lr/d, lr)`); `head` and the first half of `probe-then-tune` are fitted to convergence
    on frozen features, outside this table (Kumar et al. 2022, arXiv 2202.10054).

    Raises:
        ValueError: freeze leaves no group to train.
    """
    ones = (1.0,) * groups
    if strategy.kind == "head":
        return ()
    if strategy.kind == "freeze":
        frozen = strategy.groups or 0
        if frozen >= groups:
            raise ValueError(f"strategy.groups is {frozen}, but the model has {groups} groups")
        return ((0.0,) * frozen + ones[frozen:],) * epochs
    if strategy.kind == "gradual":
        return tuple(
            tuple(1.0 if group >= groups - 1 - epoch else 0.0 for group in range(groups))
            for epoch in range(epochs)
        )
    if strategy.kind == "discriminative":
        return (tuple(strategy.decay ** (groups - 1 - group) for group in range(groups)),) * epochs
    return (ones,) * epochs


def begins_with_probe(strategy: Strategy) -> bool:
    """Whether the head is first fitted to convergence on the frozen base's features."""
    return strategy.kind in ("head", "probe-then-tune")
