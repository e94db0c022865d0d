"""A strategy is a table: epoch x layer group -> multiplier of the learning rate; 0 is frozen."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finetuning.errors import wrong

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from finetuning.config import Strategy
    from finetuning.problem import Head

Table = tuple[tuple[float, ...], ...]
# What architectures call the number of their blocks, beside which there are two groups.
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
BESIDE_BLOCKS = ("embeddings", "head")
TIMES = "+"  # between the strategies of a product
PROBE = "probe-then-tune"


def tabulate(strategy: Strategy, epochs: int, groups: int, head: Head = "fitted") -> Table:
    """The table of a strategy, one row an epoch, one column a group from bottom to head.

    `gradual` thaws one more group an epoch from the top (ULMFiT, arXiv 1801.06146, section 3.2);
    `discriminative` falls by a constant factor a group downwards (the same, and fastai's
    `slice(lr/d, lr)`); `head` and the first half of `probe-then-tune` are fitted to convergence
    on frozen features, outside this table (Kumar et al. 2022, arXiv 2202.10054). `lora` trains the
    adapters in the blocks, and the embeddings have none.

    Strategies multiply: whatever the kind, `groups` freezes that many from the bottom, and
    `gradual+discriminative` is ULMFiT's. Where a probe was fitted, that was the first step of
    `gradual`: the highest block learns from the first epoch on.

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
    factors = strategy.kind.split(TIMES)
    is_probed = PROBE in factors and epoch == 0 and head == "fresh"
    if depth and (strategy.kind == "head" or is_probed):
        return 0.0
    thawed = epoch + int(PROBE in factors and head == "fitted")
    if "gradual" in factors and depth > thawed:
        return 0.0
    return float(strategy.decay**depth) if "discriminative" in factors else 1.0


def check_depth(strategy: Strategy, folder: Path) -> None:
    """Hold `groups` against the number of layers that a base model's config.json names.

    Training does so again with the model's own groups: a configuration can only say how many there
    are at most, and some do not say it.

    Raises:
        InputError: No group is left to train, however the layers are grouped.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return
    layers = next((config[name] for name in LAYERS if isinstance(config.get(name), int)), None)
    most = None if layers is None else layers + len(BESIDE_BLOCKS)
    if most is not None and strategy.groups is not None and strategy.groups >= most:
        remedy = f"The model has {most} groups: leave at least one to train."
        raise wrong("strategy.groups", strategy.groups, remedy)


def begins_with_probe(strategy: Strategy) -> bool:
    """Whether the head is first fitted to convergence on the frozen base's features."""
    return strategy.kind == "head" or PROBE in strategy.kind.split(TIMES)


def describe_table(groups: Sequence[str], table: Table, rate: float) -> list[str]:
    """The table in words, a line for epochs that are alike: which groups learn, and how fast.

    Args:
        groups: Names of the layer groups, from bottom to head.
        table: Epoch x layer group -> multiplier.
        rate: The learning rate at its peak, which the multipliers are of.
    """
    if not table:
        return [f"the {groups[-1]} alone is fitted to convergence on frozen features, at no rate"]
    lines = []
    first = 1
    for number, multipliers in enumerate(table, 1):
        if number < len(table) and table[number] == multipliers:
            continue
        epochs = f"epoch {first}" if first == number else f"epochs {first} to {number}"
        lines.append(f"{epochs}: {', '.join(_describe_runs(groups, multipliers, rate))}")
        first = number + 1
    return lines


def _describe_runs(
    groups: Sequence[str], multipliers: Sequence[float], rate: float
) -> Iterator[str]:
    """Neighbouring groups with the same multiplier, as one."""
    start = 0
    for place in range(1, len(groups) + 1):
        if place < len(groups) and multipliers[place] == multipliers[start]:
            continue
        names = groups[start] if place - start == 1 else f"{groups[start]} to {groups[place - 1]}"
        factor = multipliers[start]
        said = f"x {factor:.3g} (peak rate {factor * rate:.3g})" if factor else "frozen"
        yield f"{names} {said}"
        start = place


def describe_share(trained: int, total: int) -> str:
    """How many of a model's parameters are trained, and which share of all that is."""
    return f"{trained:,} of {total:,} parameters are trained, {trained / max(total, 1):.2%}"
