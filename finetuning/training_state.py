"""The state of a training: how far it has come, and the tensors that it has changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from finetuning.history import Epoch


class UnfitError(Exception):
    """A checkpoint is whole, and not of the model that is being trained."""


@dataclass
class Progress:
    """How far a training has come: beside the optimizer's state, all that its rest depends on.

    history: ended epochs, the probe's too. best: index into history, -1 before there is one. steps:
    done in all; in_epoch: of those, in the present epoch, whose running sums follow. seconds:
    spent on the present epoch's steps; trained: on those of the epochs before it. micro_batch: most
    rows at once, where the memory has set a limit. alike: whether all steps ran on one machine and
    were split alike. weights: the best epoch's.
    """

    history: list[Epoch] = field(default_factory=list)
    best: int = -1
    steps: int = 0
    in_epoch: int = 0
    loss_sum: float = 0.0
    right: int = 0
    counted: int = 0
    rate: float = 0.0
    seconds: float = 0.0
    trained: float = 0.0
    micro_batch: int | None = None
    alike: bool = True
    weights: dict[str, Tensor] = field(default_factory=dict, repr=False)

    @property
    def epoch(self) -> int:
        """The present epoch's number, from 1 on."""
        return 1 + sum(epoch.phase == "tune" for epoch in self.history)

    def count(self, loss: float, right: int, counted: int, rate: float, seconds: float) -> None:
        """Add a step."""
        self.loss_sum += loss * counted
        self.right += right
        self.counted += counted
        self.rate = rate
        self.seconds += seconds
        self.steps += 1
        self.in_epoch += 1

    def end_epoch(self, epoch: Epoch) -> None:
        """Begin the next epoch."""
        self.history.append(epoch)
        self.trained += self.seconds
        self.loss_sum = self.rate = self.seconds = 0.0
        self.right = self.counted = self.in_epoch = 0

    def to_json(self) -> dict[str, Any]:
        """The fields by name, without the weights."""
        names = [one.name for one in fields(self) if one.name != "weights"]
        values = {name: getattr(self, name) for name in names}
        return values | {"history": [epoch.to_json() for epoch in self.history]}


def collect(
    model: nn.Module, optimizer: torch.optim.Optimizer, learning: Iterable[str], progress: Progress
) -> dict[str, Tensor]:
    """The tensors that a training has changed: weights, buffers, the best ones, the optimizer's.

    Args:
        model: The model, whose other weights are as they were built.
        optimizer: Its optimizer.
        learning: Names of the parameters that some epoch trains.
        progress: Holds the best epoch's weights.
    """
    names, state = _list_changing(model, learning), model.state_dict()
    tensors = {f"model.{name}": state[name] for name in names}
    if progress.best >= 0:
        tensors |= {f"best.{name}": progress.weights[name] for name in names}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"optimizer.{key}.{name}"] = value
    return {name: tensor.detach().contiguous() for name, tensor in tensors.items()}


@torch.no_grad()
def restore(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    learning: Iterable[str],
    progress: Progress,
    tensors: Mapping[str, Tensor],
) -> None:
    """Put a checkpoint's tensors where `collect` took them from, the best ones into `progress`.

    Raises:
        UnfitError: They are not those of this model; nothing was changed.
    """
    names, state = _list_changing(model, learning), model.state_dict()
    shapes = {f"model.{name}": state[name].shape for name in names}
    if progress.best >= 0:
        shapes |= {f"best.{name}": state[name].shape for name in names}
    moments = {name for name in tensors if name.startswith("optimizer.")}
    if {name: tensors[name].shape for name in tensors.keys() - moments} != shapes:
        raise UnfitError
    if progress.best >= 0:
        for name in names:
            state[name].copy_(tensors[f"best.{name}"])
        progress.weights = copy_weights(model)
    for name in names:
        state[name].copy_(tensors[f"model.{name}"])
    parameters = dict(model.named_parameters())
    for name in sorted(moments):
        _, key, own = name.split(".", 2)
        parameter, value = parameters[own], tensors[name]
        # A moment lies in memory as its parameter does, which need not be in rows.
        like = torch.empty_like(parameter) if value.shape == parameter.shape else None
        moment = value.to(parameter.device) if like is None else like.copy_(value)
        optimizer.state[parameter][key] = moment


def _list_changing(model: nn.Module, learning: Iterable[str]) -> list[str]:
    """Names of the parameters that learn and of all buffers that are kept."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    buffers = [name for name in model.state_dict() if name not in parameters]
    return [*learning, *buffers]


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """The model's state as it is now, apart from it."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
