"""A deployment for real: servers with passwords on PostgreSQL and S3, and workers elsewhere."""

import json
import sys

import pytest

from tests.deploy.conftest import run_deployment, shell
from tests.deploy.servers import BUCKETS
from tests.servers import ask

PARAMETERS = {
    "pipeline": "reviews",
    "overrides": ["strategy={kind: head}", "gate.minimum=0.5", "gate.behaviour=[]"],
}
LOADED = """
import json, mlflow
model = mlflow.pyfunc.load_model("models:/reviews@challenger")
print(json.dumps(model.predict([{"text": "a lovely little film"}]).to_dict("records")))
"""


@pytest.fixture(scope="module")
def first(stack, begin_worker):
    """The first worker, and its run of the pipeline through the deployment."""
    worker = begin_worker("first").start()
    run = run_deployment(stack, PARAMETERS)
    worker.stop()
    return worker, run


def list_versions(worker):
    """What is registered, as the worker sees it."""
    command = [sys.executable, "-m", "flows.cli", "status", "--json"]
    return json.loads(shell(worker.folder, *command, environment=worker.environment))


def test_the_run_ends_well(first):
    """Data from DVC's remote, stages, artifacts and the version: all through the servers."""
    worker, run = first
    assert run.state.is_completed(), worker.said[-6000:]


def test_the_version_is_registered(first):
    """The registry names it, and says that it is up to date with this clone."""
    found = list_versions(first[0])["pipelines"]
    print(found)
    (reviews,) = [one for one in found if one["pipeline"] == "reviews"]
    assert (reviews["model_version"], reviews["aliases"]) == ("1", {"challenger": "1"})


def test_the_model_loads_elsewhere(stack, first, tmp_path):
    """With the server's address and a password, in an empty folder, from artifacts on S3."""
    said = shell(tmp_path, sys.executable, "-c", LOADED, environment=stack.worker())
    (answer,) = json.loads(said)
    assert answer["label"] in ("negative", "positive")
    assert 0 < answer["score"] <= 1


def test_another_worker_finds_the_stages(stack, first, begin_worker):
    """In a clone without any state, the same run computes nothing."""
    worker = begin_worker("second").start()
    run = run_deployment(stack, PARAMETERS)
    worker.stop()
    assert run.state.is_completed(), worker.said[-6000:]
    kept = {path.parent.name: path.name for path in (worker.folder / ".tunesmith/store").glob("*/*")}
    assert {"snapshot", "validate", "encode", "train", "evaluate", "register"} <= kept.keys()
    assert " runs: " in first[0].said
    assert " runs: " not in worker.said
    assert worker.said.count("cached in") == 6
