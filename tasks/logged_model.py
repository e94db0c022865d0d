"""The model as MLflow keeps it: a pyfunc from code, attached to its run, not yet a version."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import finetuning
from finetuning.problem import find_problem
from finetuning.snapshots import list_columns
from tasks.evaluation import read_split
from tasks.pinned_data import pin
from tasks.registry import TAG
from tasks.stages import fetch
from tasks.training import MODEL

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

    from finetuning.problem import Problem
    from tasks.planning import Work

REQUIREMENTS = ("torch", "transformers", "safetensors", "numpy", "pandas", "pydantic", "tqdm")
EXAMPLE_ROWS = 3
ENCODING = {"max_length", "stride", "image_size"}  # settings that a served model encodes by
KEPT = f"{TAG}.model_id"  # so that a second attempt attaches no second model
_PYFUNC = Path(__file__).with_name("pyfunc_model.py")


def keep_model(client: MlflowClient, work: Work, run_id: str) -> Any:
    """The model attached to a run: now, or by an attempt that did not end.

    Returns:
        MLflow's LoggedModel; `models:/` and its model_id is its URI.
    """
    known = client.get_run(run_id).data.tags.get(KEPT)
    if known is not None and _is_whole(client, known):
        return client.get_logged_model(known)
    model_id = str(log_model(work, run_id).model_id)
    client.set_tag(run_id, KEPT, model_id)
    return client.get_logged_model(model_id)


def _is_whole(client: MlflowClient, model_id: str) -> bool:
    from mlflow.exceptions import MlflowException

    try:
        files = client.list_logged_model_artifacts(model_id)
    except (MlflowException, OSError):
        return False
    return any(file.path == "MLmodel" for file in files)


def name_inputs(work: Work) -> dict[str, str]:
    """Which columns the model reads: role -> name."""
    problem = find_problem(work.pipeline.problem)
    named = list_columns(work.pipeline.data.columns, problem.kind)
    return {role: name for role, name in named if role not in problem.targets}


def read_inputs(work: Work, rows: pandas.DataFrame) -> pandas.DataFrame:
    """What the model would be asked about rows of the snapshot, without files beside it."""
    problem, data = find_problem(work.pipeline.problem), work.pipeline.data
    inputs = rows[list(name_inputs(work).values())]
    folder = pin(work) if problem.reads_files else work.root / data.path
    return problem.encoding.make_example(inputs, data.columns, folder)


def sign(problem: Problem, inputs: Mapping[str, str]) -> ModelSignature:
    """What a served model takes, answers, and lets a caller set.

    Args:
        problem: Its declaration.
        inputs: The columns that it reads: role -> name.
    """
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, ParamSchema, ParamSpec, Schema

    taken = [
        ColSpec(DataType[problem.served], name, required=role not in problem.optional)
        for role, name in inputs.items()
    ]
    answered = [ColSpec(DataType[kind], name) for name, kind in problem.answers.items()]
    settings = [
        ParamSpec(name, DataType.long if type(value) is int else DataType.double, value)
        for name, value in problem.parameters.items()
    ]
    return ModelSignature(
        Schema(taken), Schema(answered), ParamSchema(settings) if settings else None
    )


def log_model(work: Work, run_id: str) -> Any:
    """Attach the model to its run as a pyfunc from code: weights, tokenizer, library, no pickle."""
    import mlflow

    pipeline, problem = work.pipeline, find_problem(work.pipeline.problem)
    inputs = name_inputs(work)
    with mlflow.start_run(run_id=run_id):
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_PYFUNC),
            artifacts={"model": str(fetch(work, "train").folder / MODEL)},
            code_paths=[str(Path(finetuning.__file__).parent)],
            model_config={
                "problem": problem.kind,
                "columns": inputs,
                "training": pipeline.training.model_dump(
                    include={"max_length", "stride", "image_size"}
                ),
            },
            signature=sign(problem, inputs),
            input_example=read_inputs(work, read_split(work, "test").head(EXAMPLE_ROWS)),
            pip_requirements=[
                f"{name}=={metadata.version(name)}" for name in (*REQUIREMENTS, *problem.requires)
            ],
        )
