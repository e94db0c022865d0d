"""Registered versions that answer: tiny models of each problem, and one that needs no torch."""

import shutil
from pathlib import Path

import mlflow

import finetuning
from finetuning.config import Columns, Training
from finetuning.problem import find_problem
from tasks.logged_model import sign
from tasks.registry import connect, find_experiment

LIGHT = Path(__file__).with_name("light_model.py")
PYFUNC = Path(__file__).parents[1] / "tasks" / "pyfunc_model.py"


def register_light(root, name="toys", code=LIGHT):
    """Register one more version of a model that answers by the length of a text."""
    return _register(root, name, "text-classification", {"text": "text"}, code)


def register_model(root, name, kind, base, columns, labels=("negative", "positive")):
    """Register one more version of a model with random weights over a tiny base."""
    problem, place = find_problem(kind), root / "made" / name
    place.mkdir(parents=True)
    model = problem.modelling.build(base, len(labels), 0)
    problem.modelling.save(model, place, labels, 32)
    encoder = problem.encoding.open_encoder(base, Columns(**columns), Training(max_length=32))
    encoder.save(place)
    version = _register(root, name, kind, columns, PYFUNC, {"model": str(place)})
    shutil.rmtree(place)
    return version


def _register(root, name, kind, columns, code, artifacts=None):
    client = connect(root)
    with mlflow.start_run(experiment_id=find_experiment(client, root, name)):
        return mlflow.pyfunc.log_model(
            name="model",
            python_model=str(code),
            artifacts=artifacts,
            code_paths=[str(Path(finetuning.__file__).parent)] if artifacts else None,
            model_config={
                "problem": kind,
                "columns": columns,
                "training": {"max_length": 32, "stride": 8, "image_size": 16},
            },
            signature=sign(find_problem(kind), columns),
            pip_requirements=["mlflow"],
            registered_model_name=name,
        ).registered_model_version
