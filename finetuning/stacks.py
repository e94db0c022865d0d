"""Where a base model's blocks are, from bottom to top."""

from __future__ import annotations

from typing import Any, cast

from torch import nn


def find_stack(base: nn.Module) -> tuple[str, nn.ModuleList]:
    """The stack of a model's blocks, which is its longest ModuleList, and its name."""
    lists = [(name, one) for name, one in base.named_modules() if isinstance(one, nn.ModuleList)]
    return max(lists, key=lambda item: len(item[1]))


def list_blocks(base: nn.Module) -> tuple[tuple[str, ...], ...]:
    """What the names of each block's parameters begin with, from bottom to top."""
    own: tuple[tuple[str, ...], ...] | None = getattr(base, "block_prefixes", None)
    if own is not None:
        return own
    wrapped = getattr(base, "timm_model", None)
    if wrapped is not None:
        return _list_timm_blocks(wrapped)
    stack, blocks = find_stack(base)
    return tuple((f"{stack}.{number}.",) for number in range(len(blocks)))


def find_modules(base: nn.Module, blocks: int) -> tuple[tuple[str, nn.Module], ...]:
    """The modules of the lowest blocks with their names, from bottom to top.

    There are none where a block's parameters are named one by one, as those of timm are.
    """
    names = [prefix.removesuffix(".") for block in list_blocks(base)[:blocks] for prefix in block]
    known = dict(base.named_modules())
    return tuple((name, known[name]) for name in names) if known.keys() >= set(names) else ()


def _list_timm_blocks(wrapped: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The groups that timm itself makes for rates that fall layer by layer; the first is the stem.

    (timm `optim/_param_groups.py`, `param_groups_layer_decay`)
    """
    from timm.models import group_parameters  # type: ignore[import-not-found,unused-ignore]

    groups = group_parameters(wrapped, cast(Any, wrapped).group_matcher(coarse=False))
    named = [tuple(f"timm_model.{name}" for name in groups[number]) for number in sorted(groups)]
    return tuple(named[1:])
