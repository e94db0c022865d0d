"""A strategy from its name to its model: built, probed or adapted as it says, and trained."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from finetuning.adapters import FOLDER, attach_adapters, merge_adapters
from finetuning.devices import Device, choose_determinism, choose_device
from finetuning.history import Epoch
from finetuning.labels import balance
from finetuning.memory import TooLargeError, halve, release_memory
from finetuning.models import Classifier, LayerGroup, layer_groups
from finetuning.prefixes import count_frozen_blocks, skip_blocks
from finetuning.probing import compute_features, fit_probe, install_probe
from finetuning.problem import Rows, find_problem
from finetuning.resumption import Saving, recall
from finetuning.strategies import Table, begins_with_probe, tabulate
from finetuning.training import Result, train
from finetuning.training_state import UnfitError
from finetuning.tying import separate

if TYPE_CHECKING:
    from finetuning.config import Pipeline, Training

FindFeatures = Callable[[Classifier, Rows, Rows, Device], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Adapted:
    """A trained model, and how it came to be."""

    model: Classifier
    result: Result
    groups: tuple[LayerGroup, ...]
    table: Table
    device: Device
    deterministic: bool  # whether the same seed gives the same bytes
    trained: int  # parameters that some epoch trained
    adapters: Any | None  # PEFT's model around the base, where the strategy is lora


def adapt(
    base: Path,
    classes: int,
    pipeline: Pipeline,
    rows: Rows,
    validation: Rows,
    longest: int | None,
    place: Path,
    find_features: FindFeatures | None = None,
    report: Callable[[Epoch], None] | None = None,
    announce: Callable[[Classifier, tuple[LayerGroup, ...], Table], None] | None = None,
    saving: Saving | None = None,
) -> Adapted:
    """Adapt a base model to rows by the pipeline's strategy.

    Where a step finds no memory, the training goes on from its checkpoint, or begins again, with
    half the rows at once; batches stay as large as they were.

    Args:
        base: The base model's files.
        classes: Number of labels; 0 where the problem has no classes.
        pipeline: Its problem, model, strategy and training are read.
        rows: Training rows.
        validation: Rows that choose the best epoch.
        longest: The longest row in tokens, where it is known.
        place: Folder for temporary files.
        find_features: Gives the frozen features of both splits where they are kept; None
            computes them.
        report: Called with each epoch as it ends.
        announce: Called with the model, its groups and the table before anything is trained.
        saving: Where checkpoints go, and one that is there is gone on from; None: nowhere.

    Raises:
        ShortOfMemoryError: There is no memory for one row.
    """
    micro_batch: int | None = None
    while True:
        try:
            return _adapt(
                base, classes, pipeline, rows, validation, longest, place,
                find_features, report, announce, saving, micro_batch,
            )  # fmt: skip
        except TooLargeError as error:
            if saving is not None:
                saving.tell(f"{error}: the training begins again, or goes on from its checkpoint")
            micro_batch = halve(error.rows)
        except UnfitError:
            if saving is not None:
                saving.tell("the checkpoint is not of this model: the training begins again")
                saving.discard()
            saving = None
        # Behind the handlers nothing refers to the model any more, so its memory is free.
        release_memory()


def _adapt(
    base: Path,
    classes: int,
    pipeline: Pipeline,
    rows: Rows,
    validation: Rows,
    longest: int | None,
    place: Path,
    find_features: FindFeatures | None,
    report: Callable[[Epoch], None] | None,
    announce: Callable[[Classifier, tuple[LayerGroup, ...], Table], None] | None,
    saving: Saving | None,
    micro_batch: int | None,
) -> Adapted:
    """One attempt of `adapt`, with at most so many rows at once."""
    settings, strategy = pipeline.training, pipeline.strategy
    device = choose_device(settings.precision)
    deterministic = choose_determinism(device, settings.deterministic)
    scratch = strategy.kind == "scratch"
    problem, dropout = find_problem(pipeline.problem), pipeline.model.dropout
    model = problem.modelling.build(base, classes, settings.seed, dropout, scratch, longest)
    adapters = attach_adapters(model, strategy, settings.seed) if strategy.kind == "lora" else None
    table = tabulate(strategy, settings.epochs, len(layer_groups(model)), problem.head)
    separate(model, table)
    groups = layer_groups(model)
    if announce is not None:
        announce(model, groups, table)
    blocks = count_frozen_blocks(model, groups, table)
    splits = problem.encoding.vary(rows, settings), validation
    with skip_blocks(model, blocks, splits, device, place) as (rows, validation):
        checkpoint = None if saving is None or not table else recall(saving, device)
        before: tuple[Epoch, ...] = ()
        # A checkpoint holds the probe, its epoch and the head that it left.
        if problem.head == "fitted" and begins_with_probe(strategy) and checkpoint is None:
            before = (_probe(model, rows, validation, device, settings, find_features),)
            if report is not None:
                report(before[0])
        result = Result(before, 0, 0, 0.0)
        if table:
            result = train(
                model, table, rows, validation, problem.scoring, settings, device, before,
                report, saving, checkpoint, micro_batch,
            )  # fmt: skip
    trained, deterministic = count_trained(model, groups, table), deterministic and result.alike
    return Adapted(model, result, groups, table, device, deterministic, trained, adapters)


def _probe(
    model: Classifier,
    rows: Rows,
    validation: Rows,
    device: Device,
    settings: Training,
    find_features: FindFeatures | None,
) -> Epoch:
    """Fit the model's head to convergence on its frozen features."""
    started = time.monotonic()
    if find_features is None:
        own = compute_features(model, rows, device, "features of train")
        other = compute_features(model, validation, device, "features of validation")
    else:
        own, other = find_features(model, rows, validation, device)
    labels, others = torch.tensor(rows.labels), torch.tensor(validation.labels)
    classes, weights = model.head.out_features, None
    if settings.class_weights == "balanced":
        weights = torch.from_numpy(balance(rows.labels, classes))
    smoothing = settings.label_smoothing
    probe = fit_probe(own, labels, other, others, classes, smoothing, weights)
    seconds = time.monotonic() - started
    return install_probe(model, probe, (own, labels), (other, others), seconds)


def count_trained(model: Classifier, groups: tuple[LayerGroup, ...], table: Table) -> int:
    """How many parameters some epoch trains; of a head that was only fitted, the head's."""
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    learning = [any(rates) for rates in zip(*table, strict=True)] if table else []
    learning = learning or [False] * (len(groups) - 1) + [True]
    return sum(
        sizes[name]
        for group, learns in zip(groups, learning, strict=True)
        if learns
        for name in group.parameters
    )


def save_adapted(
    adapted: Adapted, folder: Path, labels: tuple[str, ...], pipeline: Pipeline, base: str
) -> None:
    """Write the model whole; adapters are merged into it, and kept beside it.

    Args:
        adapted: The trained model; its adapters are gone afterwards.
        folder: Where it goes.
        labels: The labels, in order; none where the problem has no classes.
        pipeline: The pipeline that it was adapted for.
        base: Name of the base model.
    """
    if adapted.adapters is not None:
        merge_adapters(adapted.model, adapted.adapters, folder / FOLDER, base)
    modelling = find_problem(pipeline.problem).modelling
    modelling.save(adapted.model, folder, labels, pipeline.training.max_length)
