"""Train: the base model adapted to the training split, by the pipeline's strategy."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from prefect.logging import get_run_logger

from finetuning.adaptation import adapt, count_trained, save_adapted
from finetuning.adapters import describe_adapters
from finetuning.history import Epoch, describe_end, describe_epoch
from finetuning.locks import hold
from finetuning.models import Classifier
from finetuning.probing import compute_features
from finetuning.problem import Rows, find_problem
from finetuning.resumption import Saving
from finetuning.strategies import describe_share, describe_table
from tasks.devices import occupy_device
from tasks.stages import Outcome, fetch, perform, stage

if TYPE_CHECKING:
    from finetuning.adaptation import Adapted
    from finetuning.config import Pipeline
    from finetuning.devices import Device
    from finetuning.models import LayerGroup
    from finetuning.store import Entry
    from finetuning.strategies import Table
    from finetuning.training import Result
    from tasks.planning import Work

MODEL = "model"
WAITING = "another run trains the same model; this one takes it when it is done"


@stage("train")
def train(work: Work) -> Outcome:
    """Fine-tune the base model and keep the best epoch's weights.

    A training that was killed goes on from its checkpoint; where the stage's output is kept, its
    checkpoints go.
    """
    key, logger = work.plans["train"].key, get_run_logger()
    steps = work.pipeline.training.checkpoint_steps
    saving = Saving(work.state / "checkpoints" / key, key, steps, logger.info)

    def make(folder: Path) -> dict[str, Any]:
        with occupy_device():
            return _make(work, folder, saving)

    # Pipelines that differ in name alone share it: whoever comes second takes what is kept then.
    with hold(work.state / "locks" / f"{key}.train", lambda: logger.info(WAITING)):
        try:
            outcome, _ = perform(work, "train", make)
        except FloatingPointError:
            saving.discard()  # it would only diverge again
            raise
        saving.discard()
        return outcome


def _make(work: Work, folder: Path, saving: Saving) -> dict[str, Any]:
    encoded = fetch(work, "encode")
    labels = tuple(encoded.facts["labels"])
    problem = find_problem(work.pipeline.problem)
    rows, validation = (
        problem.encoding.load_rows(encoded.folder / f"{split}.safetensors")
        for split in ("train", "validation")
    )

    def find_features(
        model: Classifier, rows: Rows, validation: Rows, device: Device
    ) -> tuple[torch.Tensor, torch.Tensor]:
        splits = {"train": rows, "validation": validation}
        kept = keep_features(work, "features", splits, device, model)
        return kept["train"], kept["validation"]

    adapted = adapt(
        work.base.folder,
        len(labels),
        work.pipeline,
        rows,
        validation,
        encoded.facts["longest"],
        folder,
        find_features,
        partial(log_epoch, work.pipeline.problem),
        partial(log_table, work.pipeline),
        saving,
    )
    result = adapted.result
    log_end(result, adapted.table)
    place = folder / MODEL
    save_adapted(adapted, place, labels, work.pipeline, work.base.name)
    columns, settings = work.pipeline.data.columns, work.pipeline.training
    problem.encoding.open_encoder(work.base.folder, columns, settings).save(place)
    return {
        "history": [epoch.to_json() for epoch in result.history],
        "best": result.best,
        "steps": result.steps,
        "samples_per_second": result.samples_per_second,
        "groups": [group.name for group in adapted.groups],
        "table": [list(multipliers) for multipliers in adapted.table],
        "device": _describe_device(adapted),
        "parameters": sum(parameter.numel() for parameter in adapted.model.parameters()),
        "trained_parameters": adapted.trained,
    }


def _describe_device(adapted: Adapted) -> dict[str, Any]:
    device, micro_batch = adapted.device, adapted.result.micro_batch
    return {
        "kind": device.kind,
        "name": device.name,
        "precision": device.precision,
        "threads": torch.get_num_threads(),  # they decide in which order sums are added
        "deterministic": adapted.deterministic,
        # Where memory was short: the most rows at once that it had room for.
        **({} if micro_batch is None else {"micro_batch": micro_batch}),
    }


def keep_features(
    work: Work,
    stage: str,
    splits: dict[str, Rows],
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
        # With the same attention as in training: whoever comes first, the bits are the same.
        longest = fetch(work, "encode").facts["longest"]
        modelling = find_problem(work.pipeline.problem).modelling
        base = model or modelling.build(work.base.folder, classes=2, seed=0, longest=longest)
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


def log_table(
    pipeline: Pipeline, model: Classifier, groups: tuple[LayerGroup, ...], table: Table
) -> None:
    """Say in the run's log what each epoch will train, how fast, and how much of the model.

    Args:
        pipeline: Its strategy and learning rate are said.
        model: The model, with adapters where the strategy has them.
        groups: The model's layer groups.
        table: The strategy's.
    """
    names, rate = [group.name for group in groups], pipeline.training.learning_rate
    lines = describe_table(names, table, rate)
    if pipeline.strategy.kind == "lora":
        lines.append(describe_adapters(model, pipeline.strategy))
    total = sum(parameter.numel() for parameter in model.parameters())
    for line in (*lines, describe_share(count_trained(model, groups, table), total)):
        get_run_logger().info("strategy: %s: %s", pipeline.strategy.kind, line)


def log_epoch(problem: str, epoch: Epoch) -> None:
    """Say in the run's log what an epoch showed."""
    get_run_logger().info("%s", describe_epoch(epoch, problem))


def log_end(result: Result, table: Table) -> None:
    """Say in the run's log which epoch was kept, and whether the training stopped early."""
    said = describe_end(result.history, result.best, len(table))
    get_run_logger().info("training: %s", said)
