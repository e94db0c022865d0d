"""A strategy is a table: epoch x layer group -> multiplier of the learning rate; 0 is frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetuning.errors import wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from finetuning.config import Strategy
    from finetuning.problem import Head

Table = tuple[tuple[float, ...], ...]


def tabulate(strategy: Strategy, epochs: int, groups: int, head: Head = "fitted") -> Table:
    """The table of a strategy, one row an epoch, one column a group from bottom to head.

    `gradual` thaws one more group an epoch from the top (ULMFiT, arXiv 1801.06146, section 3.2);
    `discriminative` falls by a constant factor a group downwards (the same, and fastai's
    `slice(lr/d, lr)`); `head` and the first half of `probe-then-tune` are fitted to convergence
    on frozen features, outside this table (Kumar et al. 2022, arXiv 2202.10054). `lora` trains the
    adapters in the blocks, and the embeddings have none. Whatever the kind, `groups` freezes that
    many from the bottom: strategies multiply.

    A fresh head that no fit finds is trained instead: alone, every epoch of `head` and the first of
    `probe-then-tune`. Of a head that the base model brings, `probe-then-tune` has nothing to probe.

    Args:
        strategy: The pipeline file's `strategy`.
        epochs: Rows of the table.
        groups: Its columns, the head's last.
        head: How the problem's head comes about.

    Raises:
        InputError: No group is left to train.
    """
    if strategy.kind == "head" and head == "fitted":
        return ()
    frozen = max(strategy.groups or 0, int(strategy.kind == "lora"))
    if frozen >= groups:
        raise wrong(
            "strategy.groups",
            frozen,
            f"The model has {groups} groups: leave at least one to train.",
        )
    return tuple(
        tuple(
            0.0 if group < frozen else _pace(strategy, epoch, groups - 1 - group, head)
            for group in range(groups)
        )
        for epoch in range(epochs)
    )


def _pace(strategy: Strategy, epoch: int, depth: int, head: Head) -> float:
    """Multiplier of a group that lies `depth` groups below the head, in an epoch from 0."""
    is_probed = strategy.kind == "probe-then-tune" and epoch == 0 and head == "fresh"
    if depth and (strategy.kind == "head" or is_probed):
        return 0.0
    if strategy.kind == "gradual":
        return 1.0 if depth <= epoch else 0.0
    return float(strategy.decay**depth) if strategy.kind == "discriminative" else 1.0


def begins_with_probe(strategy: Strategy) -> bool:
    """Whether the head is first fitted to convergence on the frozen base's features."""
    return strategy.kind in ("head", "probe-then-tune")


def describe_table(groups: Sequence[str], table: Table) -> list[str]:
    """The table in words, a line for epochs that are alike: which groups learn, and how fast.

    Args:
        groups: Names of the layer groups, from bottom to head.
        table: Epoch x layer group -> multiplier.
    """
    lines = []
    first = 1
    for number, multipliers in enumerate(table, 1):
        if number < len(table) and table[number] == multipliers:
            continue
        epochs = f"epoch {first}" if first == number else f"epochs {first} to {number}"
        lines.append(f"{epochs}: {', '.join(_describe_runs(groups, multipliers))}")
        first = number + 1
    return lines


def _describe_runs(groups: Sequence[str], multipliers: Sequence[float]) -> Iterator[str]:
    """Neighbouring groups with the same multiplier, as one."""
    start = 0
    for place in range(1, len(groups) + 1):
        if place < len(groups) and multipliers[place] == multipliers[start]:
            continue
        names = groups[start] if place - start == 1 else f"{groups[start]} to {groups[place - 1]}"
        rate = multipliers[start]
        yield f"{names} frozen" if rate == 0 else f"{names} x {rate:.3g}"
        start = place
