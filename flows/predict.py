"""The scoring flow: a table or a folder of images, answered by a registered version."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from finetuning.locks import hold
from finetuning.pipelines import find_root
from flows.environment import hush_libraries
from tasks.predicting import score_job, write_output
from tasks.scoring_jobs import plan_job


@flow(name="predict", flow_run_name="{model}", validate_parameters=True)
def predict(
    model: str,
    table: str,
    output: str,
    columns: dict[str, str] | None = None,
    parameters: dict[str, float] | None = None,
    batch_rows: int | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Score a table or a folder of images with a registered version.

    Args:
        model: NAME (its champion), NAME@ALIAS or NAME/VERSION.
        table: csv, tsv, jsonl or parquet file, or a folder of images; relative to the project.
        output: csv, jsonl or parquet file to write; relative to the project.
        columns: Role to the table's column, such as text to body; null takes those of the training.
        parameters: What the model lets a caller set, such as max_new_tokens to 40.
        batch_rows: Rows in memory and in a part that is kept; null takes 1000, or 64 of images.
        root: The project's folder; null looks upwards from the working folder.
    """
    hush_libraries()
    root = root or find_root(Path.cwd())
    job = plan_job(root, model, root / table, root / output, columns, parameters, batch_rows)
    with hold(job.lock):
        return write_output(job, score_job(job))
