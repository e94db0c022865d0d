"""The one training loop: a strategy's table carried out on a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from finetuning.batching import cut_micro_batches, has_tokens, shuffle_by_length
from finetuning.devices import Device, computing
from finetuning.history import Epoch
from finetuning.models import Classifier, LayerGroup, layer_groups
from finetuning.problem import Rows, Scoring
from finetuning.progress import track
from finetuning.strategies import Table
from finetuning.vocabulary import narrow_vocabulary

if TYPE_CHECKING:
    from finetuning.config import Training

LARGEST_GRADIENT = 1.0  # norm that gradients are clipped to, transformers' default
TOKENS_AT_ONCE = 2048  # with gradients, on a CPU: longer batches are added up from parts


@dataclass(frozen=True)
class Result:
    """What training left: the model holds the best epoch's weights."""

    history: tuple[Epoch, ...]
    best: int  # index into history
    steps: int
    samples_per_second: float


def train(
    model: Classifier,
    table: Table,
    rows: Rows,
    validation: Rows,
    scoring: Scoring,
    settings: Training,
    device: Device,
    before: tuple[Epoch, ...] = (),
    report: Callable[[Epoch], None] | None = None,
) -> Result:
    """Carry a strategy's table out; the model ends with the best epoch's weights.

    The best epoch is the one with the most merit on validation, among those of `before` (the
    probe that the model starts from) too, so that tuning can help but not harm. The draws of a
    step depend on the seed and the step's number alone.

    Args:
        model: The model; its parameters are changed in place.
        table: Epoch x layer group -> multiplier of the learning rate.
        rows: Training rows.
        validation: Rows that choose the best epoch and stop early.
        scoring: The problem's loss and what its validation is worth.
        settings: The pipeline file's `training`.
        device: Where, and in which precision.
        before: Epochs already behind the model.
        report: Called with each epoch as it ends.
    """
    with narrow_vocabulary(model, rows, validation) as (narrow, checked):
        loop = _Loop(model, narrow, checked, scoring, settings, device)
        return _carry_out(loop, table, before, report)


@dataclass(frozen=True)
class _Loop:
    """What stays the same from step to step."""

    model: Any
    rows: Rows
    validation: Rows
    scoring: Scoring
    settings: Training
    device: Device
    accelerator: Any = None
    optimizer: Any = None
    total: int = 0  # steps of the whole table


def _carry_out(
    loop: _Loop,
    table: Table,
    before: tuple[Epoch, ...],
    report: Callable[[Epoch], None] | None,
) -> Result:
    from accelerate import Accelerator

    settings, rows = loop.settings, loop.rows
    accelerator = Accelerator(cpu=loop.device.kind == "cpu")
    groups = layer_groups(loop.model)
    optimizer = make_optimizer(loop.model, groups, settings.weight_decay)
    model, optimizer = accelerator.prepare(loop.model, optimizer)
    steps_an_epoch = -(-len(rows) // settings.batch_size)
    total = steps_an_epoch * len(table)
    loop = replace(loop, model=model, accelerator=accelerator, optimizer=optimizer, total=total)
    history = list(before)
    best = max(range(len(history)), key=lambda index: history[index].merit, default=-1)
    weights, trained, steps = _copy_weights(model), 0.0, 0
    for number, multipliers in enumerate(table, 1):
        started = time.monotonic()
        freeze(model, groups, multipliers)
        loss, accuracy, rate = _run_epoch(loop, multipliers, number, len(table), steps)
        steps += steps_an_epoch
        trained += time.monotonic() - started
        checked = loop.scoring.check(model, loop.validation, loop.device, "validation")
        seconds, shown = time.monotonic() - started, (checked.loss, checked.accuracy)
        seen = Epoch("tune", number, loss, accuracy, *shown, rate, seconds, checked.merit)
        history.append(seen)
        if report is not None:
            report(seen)
        # The last step's harm shows in the validation loss only.
        if not np.isfinite([seen.train_loss, seen.validation_loss]).all():
            raise FloatingPointError(_explain_divergence(number, settings.learning_rate))
        if best < 0 or seen.merit > history[best].merit:
            best, weights = len(history) - 1, _copy_weights(model)
        elif _is_over(history, best, settings.early_stopping):
            break
    _restore_weights(model, weights)
    speed = len(rows) * (steps / steps_an_epoch) / trained if trained else 0.0
    return Result(tuple(history), best, steps, speed)


def _run_epoch(
    loop: _Loop, multipliers: tuple[float, ...], number: int, epochs: int, step: int
) -> tuple[float, float, float]:
    """One pass over the rows: mean loss, accuracy, and the last step's learning rate."""
    settings, rows = loop.settings, loop.rows
    batches = shuffle_by_length(rows.lengths, settings.batch_size, settings.seed, number)
    loss_sum = rate = 0.0
    hits = counted = 0
    for chosen in track(batches, f"epoch {number}/{epochs}", len(batches)):
        rate = settings.learning_rate * schedule(step, loop.total, settings.warmup)
        _set_rates(loop.optimizer, multipliers, rate)
        loss, right, weight = _step(loop, chosen, step)
        loss_sum += loss * weight
        hits += right
        counted += weight
        step += 1
    return loss_sum / max(counted, 1), hits / max(counted, 1), rate


def _step(loop: _Loop, chosen: np.ndarray, step: int) -> tuple[float, int, int]:
    """One optimizer step: its mean loss, how many answers were right, and of how many."""
    settings, model, scoring = loop.settings, loop.model, loop.scoring
    place = loop.accelerator.device
    # A step's draws depend on the seed and its number alone, not on what ran before it.
    torch.manual_seed(settings.seed * 1_000_003 + step)
    model.train()
    hold_statistics(model)
    # A batch of images is one: its BatchNorms see all of it.
    is_cut = loop.device.kind == "cpu" and has_tokens(loop.rows)
    lengths = loop.rows.lengths
    parts = cut_micro_batches(chosen, lengths, TOKENS_AT_ONCE) if is_cut else [chosen]
    classes = getattr(model.head, "out_features", 0)
    drawn = [loop.rows.draw(part, classes) for part in parts]
    weight = sum(scoring.weigh(targets) for _, targets in drawn)
    loss_sum, right = 0.0, 0
    for inputs, aims in drawn:
        batch = {name: value.to(place) for name, value in inputs.items()}
        targets = aims.to(place)
        with computing(loop.device):
            outputs = model(**batch)
        loss = scoring.compute_loss(outputs, targets, settings.label_smoothing)
        share = scoring.weigh(aims) / max(weight, 1)
        loop.accelerator.backward(loss if share == 1 else loss * share)
        loss_sum += loss.item() * share
        right += scoring.count_right(outputs, targets)
    learning = [parameter for parameter in model.parameters() if parameter.grad is not None]
    loop.accelerator.clip_grad_norm_(learning, LARGEST_GRADIENT)
    loop.optimizer.step()
    loop.optimizer.zero_grad()
    return loss_sum, right, weight


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


def _set_rates(
    optimizer: torch.optim.Optimizer, multipliers: tuple[float, ...], rate: float
) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate * multipliers[group["group"]]


def _is_over(history: list[Epoch], best: int, patience: int | None) -> bool:
    return patience is not None and len(history) - 1 - best >= patience


def _copy_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


def _restore_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    model.load_state_dict(weights)
    model.eval()


def _explain_divergence(epoch: int, rate: float) -> str:
    return (
        f"the loss is not a number after epoch {epoch}: the training diverged at "
        f"training.learning_rate {rate:g}. Lower it, for instance to {rate / 10:g}."
    )
