"""Frozen lower layers: computed once for every row, and left out of all that follows.

What leaves the highest layer that no epoch trains is the same in every epoch. It is kept, one
vector a token or one array an image, and the frozen blocks are replaced by stand-ins that hand it
on, so that an epoch costs only the layers that learn. The frozen layers compute without dropout, as
frozen features do.
"""

from __future__ import annotations

import math
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from finetuning.batching import cut_batches, has_tokens
from finetuning.devices import Device, computing
from finetuning.models import Classifier, LayerGroup
from finetuning.problem import Rows
from finetuning.progress import track
from finetuning.stacks import ReachedError, find_modules, list_blocks
from finetuning.strategies import Table

IN_MEMORY = 2**30  # bytes; what is larger lies in a temporary file
SHARE_OF_DISK = 0.5  # of the free space that such a file may take
TRIED_ROWS = 8  # rows on which the shorter way must give what the whole way gives
TOLERANCE = 1e-3
ALONE = -1  # what a block gives is no tuple
Modules = tuple[tuple[str, nn.Module], ...]  # with their names, from bottom to top


class _StandIn(nn.Module):
    """Stands where a frozen block stood; the first of them begins with the kept states."""

    def __init__(self, block: nn.Module, model: Classifier, is_first: bool, beside: int) -> None:
        super().__init__()
        # Past nn.Module's own attributes: neither is a part of this module.
        self.__dict__.update(block=block, model=model, is_first=is_first, beside=beside)

    def __getattr__(self, name: str) -> Any:
        # Some models read a block's settings, such as its kind of attention.
        return getattr(self.__dict__["block"], name)

    def forward(self, hidden_states: Tensor, *_: Any, **__: Any) -> Any:
        """Hand the states on."""
        states = self.model.resumed if self.is_first else hidden_states
        return states if self.beside == ALONE else (states, *(None,) * self.beside)


def count_frozen_blocks(model: Any, groups: tuple[LayerGroup, ...], table: Table) -> int:
    """Blocks, from the bottom, that no epoch of a table trains; below them may lie embeddings."""
    frozen = 0
    for multipliers in zip(*table, strict=True):
        if any(multipliers):
            break
        frozen += 1
    above_blocks = 1  # the head
    below_blocks = len(groups) - above_blocks - len(list_blocks(model.base))
    return max(0, frozen - below_blocks)


@contextmanager
def skip_blocks(
    model: Classifier, blocks: int, splits: tuple[Rows, ...], device: Device, place: Path
) -> Iterator[tuple[Rows, ...]]:
    """Keep what leaves the lowest blocks, and leave them out while the context is open.

    Nothing is left out where there are no such blocks, where rows differ from epoch to epoch
    (images that are changed at random), where the states would not fit on the disk, or where a
    model's architecture is such that the result would differ.

    Args:
        model: The model; its blocks are whole again at the end.
        blocks: How many blocks, from the bottom.
        splits: Encoded rows, whose states are kept.
        device: Where, and in which precision.
        place: Folder for a temporary file.

    Yields:
        The same rows, with states of (all tokens, hidden), or of (images, and what shape leaves
        the blocks), where they are kept.
    """
    modules = find_modules(model.base, blocks)
    if not modules or not all(map(_stay_alike, splits)):
        yield splits
        return
    if not _gives_the_same(model, modules, splits[0], device):
        yield splits
        return
    size = sum(4 * math.prod(_find_shape(model, modules, rows, device)) for rows in splits)
    if size > max(IN_MEMORY, SHARE_OF_DISK * shutil.disk_usage(place).free):
        yield splits
        return
    with tempfile.TemporaryDirectory(prefix=".states.", dir=place) as folder:
        file = Path(folder) if size > IN_MEMORY else None
        kept = tuple(
            replace(cast(Any, rows), states=_compute_states(model, modules, rows, device, file))
            for rows in splits
        )
        with _stand_in(model, modules, kept[0], device):
            yield kept


def _stay_alike(rows: Any) -> bool:
    """Whether rows can go on with kept states, because they are the same in every epoch."""
    names = {field.name for field in fields(rows)} if is_dataclass(rows) else set()
    return "states" in names and getattr(rows, "augmentation", None) is None and len(rows) > 0


def _find_shape(model: Classifier, modules: Modules, rows: Any, device: Device) -> tuple[int, ...]:
    """The shape of the states of all rows."""
    left, _ = _run_until(model, modules, rows, np.array([0]), device)
    shape = tuple(left.shape)
    return (len(rows.tokens), *shape[2:]) if has_tokens(rows) else (len(rows), *shape[1:])


def _compute_states(
    model: Classifier, modules: Modules, rows: Any, device: Device, folder: Path | None = None
) -> Tensor:
    """What leaves the highest of the modules, fp32: for every token, or for every image."""
    shape = _find_shape(model, modules, rows, device)
    if folder is None:
        states = torch.empty(shape)
    else:
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
            states = torch.from_numpy(np.memmap(file, np.float32, "w+", shape=shape))
    batches = cut_batches(rows.lengths)
    for chosen in track(batches, "frozen layers", len(batches)):
        left, _ = _run_until(model, modules, rows, chosen, device)
        found, places = left.float().cpu(), chosen
        if has_tokens(rows):
            lengths = torch.from_numpy(rows.lengths[chosen])
            found = found[torch.arange(found.shape[1])[None, :] < lengths[:, None]]
            spans = [np.arange(rows.offsets[row], rows.offsets[row + 1]) for row in chosen]
            places = np.concatenate(spans)
        states[torch.from_numpy(places)] = found
    return states


def _run_until(
    model: Classifier, modules: Modules, rows: Any, chosen: np.ndarray, device: Device
) -> tuple[Tensor, int]:
    """What leaves the highest of the modules for some rows, and with how many things beside it."""
    seen: list[Any] = []

    def stop(_module: nn.Module, _inputs: Any, output: Any) -> None:
        seen.append(output)
        raise ReachedError

    handle = modules[-1][1].register_forward_hook(stop)
    model.eval().to(device.kind)
    batch = {name: value.to(device.kind) for name, value in rows.collate(chosen).items()}
    try:
        with torch.no_grad(), computing(device):
            _look(model)(**batch)
    except ReachedError:
        pass
    finally:
        handle.remove()
    left = seen[0]
    return (left[0], len(left) - 1) if isinstance(left, tuple) else (left, ALONE)


def _look(model: Any) -> Callable[..., Any]:
    """What a model sees in rows: one vector a row where it pools, else what it answers."""
    return cast(Callable[..., Any], getattr(model, "features", model))


@contextmanager
def _stand_in(model: Classifier, modules: Modules, rows: Rows, device: Device) -> Iterator[None]:
    """Put stand-ins where the frozen modules are, while the context is open."""
    plain = replace(cast(Any, rows), states=None)
    _, beside = _run_until(model, modules, plain, np.array([0]), device)
    for number, (name, module) in enumerate(modules):
        _put(model.base, name, _StandIn(module, model, number == 0, beside))
    try:
        yield
    finally:
        for name, module in modules:
            _put(model.base, name, module)
        model.resumed = None


def _put(base: nn.Module, name: str, module: nn.Module) -> None:
    place, _, own = name.rpartition(".")
    setattr(base.get_submodule(place), own, module)


def _gives_the_same(model: Classifier, modules: Modules, rows: Rows, device: Device) -> bool:
    """Whether a few rows' features come out alike by both ways."""
    few = cast(Any, rows).take(np.arange(min(TRIED_ROWS, len(rows))))
    chosen = np.arange(len(few))

    def look(these: Any) -> Tensor:
        batch = {name: value.to(device.kind) for name, value in these.collate(chosen).items()}
        with torch.no_grad(), computing(device):
            return cast(Tensor, _look(model)(**batch)).float()

    model.eval().to(device.kind)
    expected = look(few)
    try:
        states = _compute_states(model, modules, few, device)
        with _stand_in(model, modules, few, device):
            found = look(replace(few, states=states))
    except Exception:
        return False  # blocks that are called, or whose states are laid out, in a way of their own
    return bool(torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE))
