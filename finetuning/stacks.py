"""Where a base model's blocks are, from bottom to top."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn


class ReachedError(Exception):
    """A layer has been computed: what lies above it is not needed."""


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


def note_shared(base: nn.Module, **example: Tensor) -> None:
    """Find what is declared behind the blocks, and which the lowest of them sees all the same.

    Such are DeBERTa's and MPNet's relative positions, whose embeddings all blocks share. They
    learn, or are frozen, with what lies lowest: a frozen block would else change with them.

    Args:
        base: The model; the names are kept on it, for `list_shared`.
        example: Any input that it takes.
    """
    blocks = list_blocks(base)
    within = tuple(prefix for block in blocks for prefix in block)
    named = list(base.named_parameters())
    first = next((n for n, (name, _) in enumerate(named) if name.startswith(within)), len(named))
    behind = {name: one for name, one in named[first:] if not name.startswith(within)}
    lowest = find_modules(base, 1)
    cast(Any, base).shared_below = frozenset()
    if not behind or not lowest:
        return
    seen: list[Any] = []

    def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.append(output[0] if isinstance(output, tuple) else output)
        raise ReachedError

    handle, is_training = lowest[-1][1].register_forward_hook(stop), base.training
    try:
        with torch.enable_grad():
            base.eval()(**example)
    except ReachedError:
        pass
    finally:
        handle.remove()
        base.train(is_training)
    with torch.enable_grad():
        gradients = torch.autograd.grad(seen[0].sum(), list(behind.values()), allow_unused=True)
    found = {name for name, one in zip(behind, gradients, strict=True) if one is not None}
    cast(Any, base).shared_below = frozenset(found)


def list_shared(base: nn.Module) -> frozenset[str]:
    """Names of the parameters behind the blocks that the lowest block sees, see `note_shared`."""
    return cast("frozenset[str]", getattr(base, "shared_below", frozenset()))


def _list_timm_blocks(wrapped: nn.Module) -> tuple[tuple[str, ...], ...]:
    """The groups that timm itself makes for rates that fall layer by layer; the first is the stem.

    (timm `optim/_param_groups.py`, `param_groups_layer_decay`)
    """
    from timm.models import group_parameters  # type: ignore[import-not-found,unused-ignore]

    groups = group_parameters(wrapped, cast(Any, wrapped).group_matcher(coarse=False))
    named = [tuple(f"timm_model.{name}" for name in groups[number]) for number in sorted(groups)]
    return tuple(named[1:])
