"""The model as MLflow keeps it: a pyfunc from code, attached to its run, not yet a version."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import finetuning
from tasks.evaluation import read_test_rows
from tasks.registry import TAG
from tasks.stages import fetch
from tasks.training import MODEL

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.planning import Work

REQUIREMENTS = ("torch", "transformers", "tokenizers", "safetensors", "numpy", "pandas", "tqdm")
EXAMPLE_ROWS = 3
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
    columns = work.pipeline.data.columns
    inputs = {"text": columns.text}
    if columns.text_pair is not None:
        inputs["text_pair"] = columns.text_pair
    return inputs


def log_model(work: Work, run_id: str) -> Any:
    """Attach the model to its run as a pyfunc from code: weights, tokenizer, library, no pickle."""
    import mlflow
    import pandas
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, DataType, Schema

    inputs = name_inputs(work)
    example = read_test_rows(work)[list(inputs.values())].head(EXAMPLE_ROWS)
    signature = ModelSignature(
        Schema([ColSpec(DataType.string, name) for name in inputs.values()]),
        Schema([ColSpec(DataType.string, "label"), ColSpec(DataType.double, "score")]),
    )
    with mlflow.start_run(run_id=run_id):
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(_PYFUNC),
            artifacts={"model": str(fetch(work, "train").folder / MODEL)},
            code_paths=[str(Path(finetuning.__file__).parent)],
            model_config=inputs,
            signature=signature,
            input_example=pandas.DataFrame(example).astype(str),
            pip_requirements=[f"{name}=={metadata.version(name)}" for name in REQUIREMENTS],
        )
