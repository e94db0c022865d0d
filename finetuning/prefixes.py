"""Frozen lower layers: computed once for every row, and left out of all that follows.

What leaves the highest layer that no epoch trains is the same in every epoch. It is kept, one
vector a token, and the frozen blocks are replaced by stand-ins that hand it on, so that an epoch
costs only the layers that learn. The frozen layers compute without dropout, as frozen features do.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from finetuning.batching import TokenRows, cut_batches, has_tokens
from finetuning.devices import Device, computing
from finetuning.models import Classifier
from finetuning.problem import Rows
from finetuning.progress import track
from finetuning.stacks import find_stack
from finetuning.strategies import Table

IN_MEMORY = 2**30  # bytes; what is larger lies in a temporary file
SHARE_OF_DISK = 0.5  # of the free space that such a file may take
TRIED_ROWS = 8  # rows on which the shorter way must give what the whole way gives
TOLERANCE = 1e-3


class _ReachedError(Exception):
    """The highest frozen block has been computed: what lies above it is not needed."""


class _StandIn(nn.Module):
    """Stands where a frozen block stood; the first of them begins with the kept states."""

    def __init__(self, block: nn.Module, model: Classifier, is_first: bool, in_tuple: bool) -> None:
        super().__init__()
        # Past nn.Module's own attributes: neither is a part of this module.
        self.__dict__.update(block=block, model=model, is_first=is_first, in_tuple=in_tuple)

    def __getattr__(self, name: str) -> Any:
        # Some models read a block's settings, such as its kind of attention.
        return getattr(self.__dict__["block"], name)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        """Hand the states on."""
        states = self.model.resumed if self.is_first else hidden_states
        return (states,) if self.in_tuple else states


def count_frozen_blocks(table: Table) -> int:
    """Blocks, from the bottom, that no epoch of a table trains; the embeddings lie below them."""
    frozen = 0
    for multipliers in zip(*table, strict=True):
        if any(multipliers):
            break
        frozen += 1
    return max(0, frozen - 1)


@contextmanager
def skip_blocks(
    model: Classifier, blocks: int, splits: tuple[Rows, ...], device: Device, place: Path
) -> Iterator[tuple[Rows, ...]]:
    """Keep what leaves the lowest blocks, and leave them out while the context is open.

    Nothing is left out where there are no such blocks, where rows have no tokens (an image that is
    changed at random gives other states each time), where the states would not fit on the disk,
    or where a model's architecture is such that the result would differ.

    Args:
        model: The model; its blocks are whole again at the end.
        blocks: How many blocks, from the bottom.
        splits: Encoded rows, whose states are kept.
        device: Where, and in which precision.
        place: Folder for a temporary file.

    Yields:
        The same rows, with states of (all tokens, hidden) where they are kept.
    """
    texts = [rows for rows in splits if has_tokens(rows)]
    if blocks == 0 or len(texts) < len(splits):
        yield splits
        return
    size = 4 * cast(Any, model.base).config.hidden_size * sum(len(rows.tokens) for rows in texts)
    fits = size <= max(IN_MEMORY, SHARE_OF_DISK * shutil.disk_usage(place).free)
    if not fits or not _gives_the_same(model, blocks, texts[0], device):
        yield splits
        return
    with tempfile.TemporaryDirectory(prefix=".states.", dir=place) as folder:
        file = Path(folder) if size > IN_MEMORY else None
        kept = tuple(
            replace(cast(Any, rows), states=_compute_states(model, blocks, rows, device, file))
            for rows in texts
        )
        with _stand_in(model, blocks, kept[0], device):
            yield kept


def _compute_states(
    model: Classifier, blocks: int, rows: TokenRows, device: Device, folder: Path | None = None
) -> Tensor:
    """What leaves a block, for every token: (all tokens, hidden) fp32."""
    shape = (len(rows.tokens), cast(Any, model.base).config.hidden_size)
    if folder is None:
        states = torch.empty(shape)
    else:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            states = torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
    batches = cut_batches(rows.lengths)
    for chosen in track(batches, "frozen layers", len(batches)):
        left, _ = _run_until(model, blocks, rows, chosen, device)
        lengths = torch.from_numpy(rows.lengths[chosen])
        mask = torch.arange(left.shape[1])[None, :] < lengths[:, None]
        places = [np.arange(rows.offsets[row], rows.offsets[row + 1]) for row in chosen]
        states[torch.from_numpy(np.concatenate(places))] = left.float().cpu()[mask]
    return states


def _run_until(
    model: Classifier, blocks: int, rows: TokenRows, chosen: np.ndarray, device: Device
) -> tuple[Tensor, bool]:
    """What leaves the highest frozen block for some rows, and whether it comes in a tuple."""
    seen: list[Any] = []

    def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.append(output)
        raise _ReachedError

    _, stack = find_stack(model.base)
    handle = stack[blocks - 1].register_forward_hook(stop)
    model.eval().to(device.kind)
    batch = {name: value.to(device.kind) for name, value in rows.collate(chosen).items()}
    try:
        with torch.inference_mode(), computing(device):
            _look(model)(**batch)
    except _ReachedError:
        pass
    finally:
        handle.remove()
    in_tuple = isinstance(seen[0], tuple)
    return (seen[0][0] if in_tuple else seen[0]), in_tuple


def _look(model: Any) -> Callable[..., Any]:
    """What a model sees in rows: one vector a row where it pools, else what it answers."""
    return cast(Callable[..., Any], getattr(model, "features", model))


@contextmanager
def _stand_in(model: Classifier, blocks: int, rows: TokenRows, device: Device) -> Iterator[None]:
    """Put stand-ins where the frozen blocks are, while the context is open."""
    _, in_tuple = _run_until(
        model, blocks, replace(cast(Any, rows), states=None), np.array([0]), device
    )
    _, stack = find_stack(model.base)
    whole = [stack[number] for number in range(blocks)]
    for number, block in enumerate(whole):
        stack[number] = _StandIn(block, model, number == 0, in_tuple)
    try:
        yield
    finally:
        for number, block in enumerate(whole):
            stack[number] = block
        model.resumed = None


def _gives_the_same(model: Classifier, blocks: int, rows: TokenRows, device: Device) -> bool:
    """Whether a few rows' features come out alike by both ways."""
    few = rows.take(np.arange(min(TRIED_ROWS, len(rows))))
    chosen = np.arange(len(few))

    def look(these: TokenRows) -> Tensor:
        batch = {name: value.to(device.kind) for name, value in these.collate(chosen).items()}
        with torch.inference_mode(), computing(device):
            return cast(Tensor, _look(model)(**batch)).float()

    model.eval().to(device.kind)
    expected = look(few)
    states = _compute_states(model, blocks, few, device)
    try:
        with _stand_in(model, blocks, few, device):
            found = look(replace(cast(Any, few), states=states))
    except (AttributeError, TypeError, IndexError, RuntimeError, ValueError):
        return False  # blocks that are called in a way of their own
    return bool(torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE))
