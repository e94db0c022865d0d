"""The one training loop: a strategy's table carried out on a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from finetuning.batching import cut_micro_batches, has_tokens, shuffle_by_length
from finetuning.devices import Device, computing
from finetuning.dropout import quick_dropout
from finetuning.history import Epoch
from finetuning.interruption import put_off_signals
from finetuning.memory import watch_memory
from finetuning.models import Classifier, LayerGroup, layer_groups
from finetuning.optimization import freeze, hold_statistics, make_optimizer, schedule, set_rates
from finetuning.problem import Rows, Scoring
from finetuning.progress import track
from finetuning.resumption import Checkpoint, Saving, Writer
from finetuning.strategies import Table
from finetuning.training_state import Progress, collect, copy_weights, restore
from finetuning.vocabulary import narrow_vocabulary

if TYPE_CHECKING:
    from finetuning.config import Training

LARGEST_GRADIENT = 1.0  # norm that gradients are clipped to, transformers' default
TOKENS_AT_ONCE = 1024  # with gradients, on a CPU: longer batches are added up from parts


@dataclass(frozen=True)
class Result:
    """What training left: the model holds the best epoch's weights.

    micro_batch: most rows at once, where the memory has set a limit. alike: whether all steps ran
    on one machine and were split alike, so that the same seed gives the same again.
    """

    history: tuple[Epoch, ...]
    best: int  # index into history
    steps: int
    samples_per_second: float
    micro_batch: int | None = None
    alike: bool = True


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
    saving: Saving | None = None,
    checkpoint: Checkpoint | None = None,
    micro_batch: int | None = None,
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
        saving: Where checkpoints go; None: nowhere.
        checkpoint: One that the training goes on from; `before` is then its own.
        micro_batch: Most rows in one pass forward and backward; None: as many as usual.

    Raises:
        TooLargeError: A step found no memory.
        UnfitError: The checkpoint is of another model.
    """
    with narrow_vocabulary(model, rows, validation) as (narrow, checked):
        loop = _Loop(model, narrow, checked, scoring, settings, device, saving)
        return _carry_out(loop, table, before, report, checkpoint, micro_batch)


@dataclass(frozen=True)
class _Loop:
    """What stays the same from step to step."""

    model: Any
    rows: Rows
    validation: Rows
    scoring: Scoring
    settings: Training
    device: Device
    saving: Saving | None
    accelerator: Any = None
    optimizer: Any = None
    total: int = 0  # steps of the whole table
    writer: Writer | None = None


def _carry_out(
    loop: _Loop,
    table: Table,
    before: tuple[Epoch, ...],
    report: Callable[[Epoch], None] | None,
    checkpoint: Checkpoint | None,
    micro_batch: int | None,
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
    loop, progress = _begin(loop, groups, table, before, checkpoint, micro_batch)
    while progress.epoch <= len(table) and not _is_over(progress, settings.early_stopping):
        number, multipliers = progress.epoch, table[progress.epoch - 1]
        freeze(model, groups, multipliers)
        _run_epoch(loop, multipliers, len(table), progress)
        seen = _check_epoch(loop, progress)
        with _unbroken(loop) as ending:
            progress.end_epoch(seen)
            if report is not None:
                report(seen)
            # The last step's harm shows in the validation loss only.
            if not np.isfinite([seen.train_loss, seen.validation_loss]).all():
                raise FloatingPointError(_explain_divergence(number, settings.learning_rate))
            if progress.best < 0 or seen.merit > progress.history[progress.best].merit:
                progress.best, progress.weights = len(progress.history) - 1, copy_weights(model)
            if ending and loop.writer is not None:
                loop.writer.end(progress)
    _restore_weights(model, progress.weights)
    seconds, steps = progress.trained, progress.steps
    speed = len(rows) * (steps / steps_an_epoch) / seconds if seconds else 0.0
    figures = (tuple(progress.history), progress.best, steps, speed)
    return Result(*figures, progress.micro_batch, progress.alike)


def _begin(
    loop: _Loop,
    groups: tuple[LayerGroup, ...],
    table: Table,
    before: tuple[Epoch, ...],
    checkpoint: Checkpoint | None,
    micro_batch: int | None,
) -> tuple[_Loop, Progress]:
    """The progress that the training begins with, and what writes it down as it grows."""
    learning = [
        name
        for group, rates in zip(groups, zip(*table, strict=True), strict=True)
        if any(rates)
        for name in group.parameters
    ]
    say = loop.saving.tell if loop.saving is not None else lambda _: None
    if checkpoint is None:
        history = list(before)
        best = max(range(len(history)), key=lambda index: history[index].merit, default=-1)
        progress = Progress(history, best, weights=copy_weights(loop.model))
    else:
        progress = checkpoint.progress
        restore(loop.model, loop.optimizer, learning, progress, checkpoint.load())
        place = f"step {progress.steps} of {loop.total} (epoch {progress.epoch})"
        say(f"training goes on from {place}")
    limits = [limit for limit in (progress.micro_batch, micro_batch) if limit is not None]
    progress.micro_batch = min(limits, default=None)
    if progress.micro_batch is not None:
        progress.alike = False  # when the memory runs short is not the seed's to say
        say(f"at most {progress.micro_batch} rows at once, added up to batches of the same size")
        if any(isinstance(module, _BatchNorm) for module in loop.model.modules()):
            say("BatchNorm sees so many rows too, not the batch: the result is another one")
    if loop.saving is None:
        return loop, progress
    gather = partial(collect, loop.model, loop.optimizer, learning)
    writer = Writer(loop.saving, loop.device, gather, step=progress.steps)
    return replace(loop, writer=writer), progress


def _run_epoch(
    loop: _Loop, multipliers: tuple[float, ...], epochs: int, progress: Progress
) -> None:
    """What is left of one pass over the rows."""
    settings, number, writer = loop.settings, progress.epoch, loop.writer
    batches = shuffle_by_length(loop.rows.lengths, settings.batch_size, settings.seed, number)
    while left := batches[progress.in_epoch :]:
        with _unbroken(loop) as ending:
            for chosen in track(left, f"epoch {number}/{epochs}", len(left)):
                began, step = time.monotonic(), progress.steps
                rate = settings.learning_rate * schedule(step, loop.total, settings.warmup)
                set_rates(loop.optimizer, multipliers, rate)
                figures = _step(loop, chosen, step, progress.micro_batch)
                progress.count(*figures, rate, time.monotonic() - began)
                if writer is not None and writer.is_due(progress.steps):
                    writer.write(progress)
                if writer is not None and ending:
                    writer.end(progress)
                    break


def _unbroken(loop: _Loop) -> AbstractContextManager[list[int]]:
    """What would end the process waits for the present step, and for the checkpoint behind it."""
    return nullcontext([]) if loop.writer is None else put_off_signals()


def _check_epoch(loop: _Loop, progress: Progress) -> Epoch:
    """What an epoch showed whose steps are done."""
    began = time.monotonic()
    try:
        checked = loop.scoring.check(loop.model, loop.validation, loop.device, "validation")
    except BaseException:
        # Validation changes nothing that learns: what ends it here need not cost the steps.
        if loop.writer is not None:
            loop.writer.end(progress)
        raise
    counted = max(progress.counted, 1)
    loss, accuracy = progress.loss_sum / counted, progress.right / counted
    shown, seconds = (checked.loss, checked.accuracy), progress.seconds + time.monotonic() - began
    return Epoch(
        "tune", progress.epoch, loss, accuracy, *shown, progress.rate, seconds, checked.merit
    )


def _step(
    loop: _Loop, chosen: np.ndarray, step: int, micro_batch: int | None
) -> tuple[float, int, int]:
    """One optimizer step: its mean loss, how many answers were right, and of how many."""
    settings, model, scoring = loop.settings, loop.model, loop.scoring
    place = loop.accelerator.device
    # A step's draws depend on the seed and its number alone, not on what ran before it.
    torch.manual_seed(settings.seed * 1_000_003 + step)
    model.train()
    hold_statistics(model)
    # A batch of images is one: its BatchNorms see all of it.
    is_cut = loop.device.kind == "cpu" and has_tokens(loop.rows)
    tokens = TOKENS_AT_ONCE if is_cut else None
    parts = cut_micro_batches(chosen, loop.rows.lengths, tokens, micro_batch)
    classes = getattr(model.head, "out_features", 0)
    with watch_memory(max(map(len, parts))):
        drawn = [loop.rows.draw(part, classes) for part in parts]
        weight = sum(scoring.weigh(targets) for _, targets in drawn)
        loss_sum, right = 0.0, 0
        for part, (inputs, aims) in zip(parts, drawn, strict=True):
            with watch_memory(len(part)):
                batch = {name: value.to(place) for name, value in inputs.items()}
                targets = aims.to(place)
                with computing(loop.device), quick_dropout(place.type):
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


def _is_over(progress: Progress, patience: int | None) -> bool:
    since = len(progress.history) - 1 - progress.best
    return patience is not None and since >= patience


def _restore_weights(model: Any, weights: dict[str, Tensor]) -> None:
    model.load_state_dict(weights)
    model.eval()


def _explain_divergence(epoch: int, rate: float) -> str:
    return (
        f"the loss is not a number after epoch {epoch}: the training diverged at "
        f"training.learning_rate {rate:g}. Lower it, for instance to {rate / 10:g}."
    )
