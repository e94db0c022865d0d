"""The MLflow run of a digest: one, whatever was lost or tried again, and each point in it once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from finetuning.pipelines import flatten
from tasks.abandoned_runs import name_writer
from tasks.registry import TAG, find_experiment
from tasks.repository import find_asker
from tasks.stages import fetch

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.planning import Work

LOGGED = f"{TAG}.logged"  # a run that has it has all that is logged once
LONGEST_PARAMETER = 6000  # characters, MLflow's limit
MOST_POINTS = 1000  # of metrics at once, MLflow's limit


def open_run(client: MlflowClient, work: Work, digest: str) -> str:
    """The MLflow run of this digest: begun now, or by an attempt that did not end."""
    experiment = find_experiment(client, work.root, work.pipeline.name)
    if begun := find_run(client, experiment, digest):
        client.update_run(begun, status="RUNNING")
        for key, value in name_writer().items():
            client.set_tag(begun, key, value)
        return begun
    tags = {
        f"{TAG}.digest": digest,
        f"{TAG}.data_version": work.data.version,
        "mlflow.user": find_asker(work.root),
        **name_writer(),
    }
    name = f"{work.pipeline.name}-{work.pipeline.strategy.kind}-{digest[:8]}"
    run_id = str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
    return find_run(client, experiment, digest) or run_id


def find_run(client: MlflowClient, experiment: str, digest: str) -> str | None:
    """The first run of a digest, or None; later ones, which nothing was written to, are deleted.

    There are some where an answer was lost and MLflow asked again, or two machines began at once.
    """
    found = client.search_runs(
        [experiment], f"tags.`{TAG}.digest` = '{digest}'", order_by=["start_time ASC", "run_id ASC"]
    )
    for later in found[1:]:
        if later.info.status != "FINISHED" and LOGGED not in later.data.tags:
            client.delete_run(later.info.run_id)
    return str(found[0].info.run_id) if found else None


def log_run(client: MlflowClient, work: Work, run_id: str, metrics: dict[str, float]) -> None:
    """Log parameters, metrics and the data set."""
    from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

    config = flatten(work.pipeline.model_dump(mode="json"))
    # What is longer stands whole in pipeline.yaml.
    parameters = [Param(key, str(value)[:LONGEST_PARAMETER]) for key, value in config.items()]
    # The same at each attempt: a point that is written twice is one point.
    trained, moment = fetch(work, "train").facts, client.get_run(run_id).info.start_time
    points = [Metric(key, value, moment, 0) for key, value in metrics.items()]
    for step, epoch in enumerate(trained["history"]):
        points += [
            Metric(f"{split}/{name}", epoch[f"{split}_{name}"], moment, step)
            for split in ("train", "validation")
            for name in ("loss", "accuracy")
        ]
    points.append(Metric("train/samples_per_second", trained["samples_per_second"], moment, 0))
    tags = [RunTag(f"{TAG}.{key}", str(value)) for key, value in trained["device"].items()]
    client.log_batch(run_id, params=parameters, tags=tags)
    for start in range(0, len(points), MOST_POINTS):
        client.log_batch(run_id, metrics=points[start : start + MOST_POINTS])
    source = json.dumps({"uri": f"dvc://{work.pipeline.data.path}"})
    dataset = Dataset(work.pipeline.data.path, work.data.version[:36], "dvc", source)
    client.log_inputs(
        run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])]
    )
