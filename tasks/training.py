"""Train: the base model adapted to the training split, by the pipeline's strategy."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from prefect.logging import get_run_logger

from finetuning.batching import EncodedRows, load_rows
from finetuning.devices import choose_determinism, choose_device
from finetuning.history import Epoch
from finetuning.models import Classifier, build, layer_groups, save
from finetuning.prefixes import count_frozen_blocks, skip_blocks
from finetuning.probing import compute_features, fit_probe
from finetuning.problems.text_classification import load_tokenizer
from finetuning.strategies import Table, begins_with_probe, tabulate
from finetuning.training import Result, install_probe
from finetuning.training import train as fit
from tasks.stages import Outcome, fetch, perform, stage

if TYPE_CHECKING:
    from finetuning.devices import Device
    from finetuning.store import Entry
    from tasks.planning import Work

MODEL = "model"


@stage("train")
def train(work: Work) -> Outcome:
    """Fine-tune the base model and keep the best epoch's weights."""
    return perform(work, "train", lambda folder: _make(work, folder))[0]


def _make(work: Work, folder: Path) -> dict[str, Any]:
    settings, strategy = work.pipeline.training, work.pipeline.strategy
    encoded = fetch(work, "encode")
    labels = tuple(encoded.facts["labels"])
    rows, validation = (
        load_rows(encoded.folder / f"{split}.safetensors") for split in ("train", "validation")
    )
    device = choose_device(settings.precision)
    deterministic = choose_determinism(device, settings.deterministic)
    model = build(
        work.base.folder,
        len(labels),
        settings.seed,
        work.pipeline.model.dropout,
        scratch=strategy.kind == "scratch",
        longest=encoded.facts["longest"],
    )
    groups = layer_groups(model)
    table = tabulate(strategy, settings.epochs, len(groups))
    frozen = count_frozen_blocks(table)
    with skip_blocks(model, frozen, (rows, validation), device, folder) as (rows, validation):
        result = _fit(work, model, table, rows, validation, device)
    save(model, folder / MODEL, labels, settings.max_length)
    load_tokenizer(work.base.folder).save_pretrained(folder / MODEL)
    return {
        "history": [epoch.to_json() for epoch in result.history],
        "best": result.best,
        "steps": result.steps,
        "samples_per_second": result.samples_per_second,
        "groups": [group.name for group in groups],
        "table": [list(multipliers) for multipliers in table],
        "device": {
            "kind": device.kind,
            "name": device.name,
            "precision": device.precision,
            "threads": torch.get_num_threads(),  # they decide in which order sums are added
            "deterministic": deterministic,
        },
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def _fit(
    work: Work,
    model: Classifier,
    table: Table,
    rows: EncodedRows,
    validation: EncodedRows,
    device: Device,
) -> Result:
    probed = begins_with_probe(work.pipeline.strategy)
    before = (probe(work, model, rows, validation, device),) if probed else ()
    for epoch in before:
        log_epoch(epoch)
    if not table:
        return Result(before, 0, 0, 0.0)
    return fit(model, table, rows, validation, work.pipeline.training, device, before, log_epoch)


def probe(
    work: Work, model: Classifier, rows: EncodedRows, validation: EncodedRows, device: Device
) -> Epoch:
    """Fit the model's head to convergence on its frozen features."""
    started = time.monotonic()
    features = keep_features(
        work, "features", {"train": rows, "validation": validation}, device, model
    )
    train_labels, labels = torch.from_numpy(rows.labels), torch.from_numpy(validation.labels)
    train_features, validation_features = features["train"], features["validation"]
    fitted = fit_probe(
        train_features,
        train_labels,
        validation_features,
        labels,
        model.head.out_features,
        work.pipeline.training.label_smoothing,
    )
    return install_probe(
        model,
        fitted,
        (train_features, train_labels),
        (validation_features, labels),
        time.monotonic() - started,
    )


def keep_features(
    work: Work,
    stage: str,
    splits: dict[str, EncodedRows],
    device: Device,
    model: Classifier | None = None,
) -> dict[str, torch.Tensor]:
    """Frozen features of some splits, computed once and kept.

    Args:
        work: The run's work.
        stage: Name in the store; the test split's are kept apart and asked for by evaluation only.
        splits: Encoded rows by split.
        device: Where, and in which precision.
        model: A model that still has the base's weights; None builds one where it is needed.
    """
    from safetensors.torch import load_file, save_file

    key = f"{work.plans['features'].key}-{device.kind}-{device.precision}"

    def make(folder: Path) -> dict[str, Any]:
        base = model or build(work.base.folder, classes=2, seed=0)
        save_file(
            {
                split: compute_features(base, rows, device, f"features of {split}")
                for split, rows in splits.items()
            },
            folder / "features.safetensors",
        )
        return {}

    entry: Entry | None = work.store.find(stage, key)
    if entry is None:
        entry = work.store.keep(stage, key, make)
    return dict(load_file(entry.folder / "features.safetensors"))


def log_epoch(epoch: Epoch) -> None:
    """Say in the run's log what an epoch showed."""
    get_run_logger().info(
        "%s %d: train loss %.4f accuracy %.4f, validation loss %.4f accuracy %.4f, %.1f s",
        epoch.phase,
        epoch.epoch,
        epoch.train_loss,
        epoch.train_accuracy,
        epoch.validation_loss,
        epoch.validation_accuracy,
        epoch.seconds,
    )
