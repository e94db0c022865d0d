"""Servers that go away in the middle of a run: nothing is lost, and nothing is written twice."""

import asyncio
import json
import sys

import pytest
from mlflow import MlflowClient
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from flows.upkeep import limit_device
from tasks import patience, registration, training
from tests.servers import Door, serve_mlflow
from tests.support import call, shell

RUN = ("run", "toy", "--set", "strategy.kind=head", "--set", "training.seed=5", "--json")
PROMISE = "the same command goes on from there without training it again"


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """The way to a tracking server of MLflow's."""
    with serve_mlflow(tmp_path_factory.mktemp("mlflow")) as address:
        yield from open_door(address)


@pytest.fixture(scope="session")
def flows(prefect_server):
    """The way to a server of Prefect's; open to the end, for Prefect keeps clients that use it."""
    yield from open_door(prefect_server.removesuffix("/api"))


def open_door(address):
    """A door before a server, until the tests are done."""
    door = Door(int(address.rpartition(":")[2]))
    door.open()
    yield door
    door.shut()


@pytest.fixture(autouse=True)
def _quick(registry, flows, monkeypatch):
    """Runs of this process use both servers, and the libraries' own retries do not wait."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.address)
    monkeypatch.setenv("PREFECT_API_URL", f"{flows.address}/api")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_JITTER", "0")
    for stage in (training.train, registration.register):
        monkeypatch.setattr(stage, "retry_delay_seconds", [0.1, 0.1, 0.1])
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.2)
    settings = {PREFECT_API_URL: f"{flows.address}/api", PREFECT_CLIENT_MAX_RETRIES: 0}
    with temporary_settings(settings):
        yield


def run(project, monkeypatch, seconds, code=0):
    """Run the pipeline with this patience: its result."""
    monkeypatch.setenv("TUNESMITH_PATIENCE", str(seconds))
    return json.loads(call(project, *RUN, code=code).stdout)


def test_a_flow_server_that_goes_away_costs_no_work(
    project, first, registry, flows, monkeypatch, caplog
):
    """Gone for good when the training begins: one message. Gone when it ends: it is kept."""
    monkeypatch.setenv("TUNESMITH_LIMIT", "outages")  # of its own: other tests use the server
    asyncio.run(limit_device())  # else no slot is held, and none is given back
    flows.plans = {"concurrency_limits/increment-with-lease": ["shut"]}
    failed = run(project, monkeypatch, 1, code=1)
    assert "A server does not answer" in failed["error"]
    assert "it goes on from what is kept" in failed["error"]
    assert "Prefect's server at" in caplog.text

    flows.open()
    flows.shut_for = 0.5
    flows.plans = {"concurrency_limits/decrement-with-lease": ["shut"]}
    registry.plans = {"experiments/get-by-name": ["shut"]}
    failed = run(project, monkeypatch, 3, code=1)
    assert flows.plans == {"concurrency_limits/decrement-with-lease": []}
    assert "MLflow's server at" in failed["error"]
    registry.open()


@pytest.fixture
def noted(project):
    """The project with a note beside its table: another data version with the same rows."""
    note = project / "data" / "toy" / "notes.txt"
    note.write_text("checked by two people\n")
    shell(project, sys.executable, "-m", "dvc", "add", "-q", "data")
    yield project
    note.unlink()
    shell(project, "git", "checkout", "-q", "data.dvc")


@pytest.mark.usefixtures("first")
def test_a_registry_that_goes_away_costs_no_training(noted, registry, monkeypatch, caplog):
    """It dies under the first metrics and stays away; the same command registers later, once.

    On the way the answers to a new run and to a new version are lost, and asked for again: there is
    one run, each point is in it once, and there is one version. Its data have a note beside them
    that those of the run before had not, which trained: nothing is trained for that either.
    """
    registry.plans = {"runs/create": ["lose"], "runs/log-inputs": ["shut"]}
    failed = run(noted, monkeypatch, 1, code=1)
    assert "has not answered for 1 s" in failed["error"]
    assert failed["error"].endswith(PROMISE)
    assert len(failed["error"].splitlines()) == 1
    assert "does not answer (" in caplog.text
    assert "snapshot runs: data: notes.txt added" in caplog.text
    assert "train runs" not in caplog.text

    registry.open()
    registry.shut_for = 0.5
    registry.plans = {"experiments/get-by-name": ["shut"], "model-versions/create": ["lose"]}
    result = run(noted, monkeypatch, 60)
    assert registry.plans == {"experiments/get-by-name": [], "model-versions/create": []}
    assert result["status"] == "registered"
    ran = [name for name, stage in result["stages"].items() if stage["status"] == "ran"]
    assert ran == ["register"]
    client = MlflowClient(registry.address)
    (version,) = client.search_model_versions("name='toy'")
    assert (str(version.version), version.run_id) == (result["model_version"], result["run_id"])
    (found,) = client.search_runs([result["experiment_id"]])
    assert (found.info.run_id, found.info.status) == (result["run_id"], "FINISHED")
    for key in ("train/loss", "validation/accuracy", "test/accuracy"):
        steps = [point.step for point in client.get_metric_history(result["run_id"], key)]
        assert steps == list(range(len(steps))), key
        assert steps


@pytest.mark.usefixtures("first")
def test_a_flow_server_that_is_away_at_the_end_takes_nothing_back(
    project, flows, monkeypatch, capsys
):
    """The model is registered, the command says so, and the next one has nothing to do."""
    flows.shut_for = None
    flows.plans = {"set_state": ["serve", "shut"]}
    result = run(project, monkeypatch, 3)
    assert flows.plans == {"set_state": []}
    assert result["status"] == "registered"
    assert result["stages"]["register"]["status"] == "kept"
    flows.open()
    assert run(project, monkeypatch, 3)["status"] == "unchanged"
