"""Every strategy on one pipeline: run in one process, and asked for in another."""

import json
import subprocess
import sys
from typing import get_args

from finetuning.config import StrategyKind
from tests.support import make_environment

KINDS = get_args(StrategyKind)
RUN = """
import json, sys
from pathlib import Path
from flows.environment import prepare_environment
root, name, *settings = sys.argv[1:]
prepare_environment(Path(root), quiet=True)
from flows.server import reach_server, reach_tracking
with reach_server(Path(root)):
    reach_tracking(Path(root))
    from flows.finetune import finetune
for kind in {kinds}:
    own = [f"strategy.kind={{kind}}", *(["strategy.groups=1"] if kind == "freeze" else [])]
    result = finetune(pipeline=name, overrides=[*settings, *own], root=Path(root))
    with open("results", "a") as file:
        print(json.dumps(result), file=file)
"""
ASK = """
import json, sys
from pathlib import Path
import mlflow, pandas
database, data, columns, image, beside, parameters, *versions = json.loads(sys.argv[1])
mlflow.set_tracking_uri(database)
for uri, run in versions:
    logged = pandas.read_parquet(mlflow.artifacts.download_artifacts(
        run_id=run, artifact_path="predictions.parquet"))
    given = logged[columns].copy()
    if image:
        given[image] = [(Path(data) / path).read_bytes() for path in given[image]]
    for column, values in beside.items():
        given[column] = [values[row - 1] for row in logged["row"]]
    found = mlflow.pyfunc.load_model(uri).predict(given, params=parameters)
    print(json.dumps([
        {answer: found[answer].tolist() for answer in found}, logged.to_dict("list")
    ], default=str))
"""


def run_every(project, name, folder, *settings):
    """The results of one run of each strategy, in one process that works in a folder of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN.format(kinds=KINDS), str(project), name, *settings],
        cwd=folder,
        env=make_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = (folder / "results").read_text("utf-8").splitlines()
    return dict(zip(KINDS, map(json.loads, lines), strict=True))


def ask_every(project, results, folder, columns, image=None, data="", beside=None, parameters=None):
    """What each registered model answers to the test rows in a fresh process, and what was logged.

    Args:
        project: The project.
        results: The runs' results by strategy.
        folder: Where the process works.
        columns: Those of the logged predictions that the model is given.
        image: The one of them that holds paths, in place of which it is given bytes.
        data: The folder that the paths are in.
        beside: What it is given too: column -> the values of all rows of the data set's file.
        parameters: What it is told.

    Returns:
        By strategy both tables, as lists by column.
    """
    versions = [[one["model_uri"], one["run_id"]] for one in results.values()]
    database = f"sqlite:///{project}/mlruns/mlflow.db"
    asked = [database, str(data), columns, image, beside or {}, parameters, *versions]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(asked)],
        cwd=folder,
        env=make_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()[-len(versions) :]
    return dict(zip(results, map(json.loads, lines), strict=True))
