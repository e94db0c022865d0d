"""What a step does to the weights: the optimizer, which layer groups learn, and how fast."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from finetuning.models import Classifier, LayerGroup


def make_optimizer(
    model: Classifier, groups: tuple[LayerGroup, ...], weight_decay: float
) -> torch.optim.AdamW:
    """Fused AdamW, two parameter groups a layer group: norms and biases are not decayed."""
    parameters = dict(model.named_parameters())
    exempt = _find_undecayed(model)
    own = []
    for index, group in enumerate(groups):
        for decayed in (True, False):
            names = [name for name in group.parameters if (name not in exempt) == decayed]
            own.append(
                {
                    "params": [parameters[name] for name in names],
                    "weight_decay": weight_decay if decayed else 0.0,
                    "group": index,
                }
            )
    return torch.optim.AdamW([group for group in own if group["params"]], lr=0.0, fused=True)


def _find_undecayed(model: nn.Module) -> set[str]:
    """Names of the parameters of norms, and of all biases: the vectors among the parameters."""
    return {name for name, parameter in model.named_parameters() if parameter.ndim < 2}


def freeze(
    model: nn.Module, groups: tuple[LayerGroup, ...], multipliers: tuple[float, ...]
) -> None:
    """Let only the groups with a multiplier above 0 learn, and drop the others' gradients."""
    parameters = dict(model.named_parameters())
    for group, multiplier in zip(groups, multipliers, strict=True):
        for name in group.parameters:
            parameters[name].requires_grad_(multiplier > 0)
            if multiplier == 0:
                parameters[name].grad = None


def hold_statistics(model: nn.Module) -> None:
    """Put every BatchNorm of frozen layers into evaluation mode: its statistics stay as they are.

    A BatchNorm without parameters of its own goes with the module that it stands in.
    """
    modules = dict(model.named_modules())
    for name, module in modules.items():
        if isinstance(module, _BatchNorm):
            place = name
            while place and next(modules[place].parameters(), None) is None:
                place = place.rpartition(".")[0]
            if not any(parameter.requires_grad for parameter in modules[place].parameters()):
                module.eval()


def schedule(step: int, total: int, warmup: float) -> float:
    """Multiplier of the peak rate: up linearly over the warm-up, then down linearly to 0.

    As transformers' `get_linear_schedule_with_warmup`.
    """
    rising = int(total * warmup)
    if step < rising:
        return (step + 1) / (rising + 1)
    return (total - step) / max(1, total - rising)


def set_rates(
    optimizer: torch.optim.Optimizer, multipliers: tuple[float, ...], rate: float
) -> None:
    """Give each layer group its share of a rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate * multipliers[group["group"]]
