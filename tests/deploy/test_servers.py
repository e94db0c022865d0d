"""A deployment for real: servers with passwords on PostgreSQL and S3, and workers elsewhere."""

import asyncio
import json
import subprocess
import sys

import pytest
from prefect.settings import temporary_settings

from tests.deploy.conftest import prefect_settings, reach_prefect, run_deployment, shell
from tests.deploy.servers import clean
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
    (reviews,) = [one for one in found if one["pipeline"] == "reviews"]
    assert (reviews["model_version"], reviews["aliases"]) == ("1", {"challenger": "1"})


def test_the_model_loads_elsewhere(stack, first, tmp_path):
    """With the server's address and a password, in an empty folder, from artifacts on S3."""
    # No key of the storage: the server alone reaches that.
    known = clean() | stack.mlflow() | {"MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD": "false"}
    said = shell(tmp_path, sys.executable, "-c", LOADED, environment=known)
    (answer,) = json.loads(said)
    assert answer["label"] in ("negative", "positive")
    assert 0 < answer["score"] <= 1


def test_another_worker_finds_the_stages(stack, first, begin_worker):
    """In a clone without any state, the same run computes nothing."""
    worker = begin_worker("second").start()
    run = run_deployment(stack, PARAMETERS)
    worker.stop()
    assert run.state.is_completed(), worker.said[-6000:]
    kept = {path.parent.name for path in (worker.folder / ".tunesmith/store").glob("*/*")}
    assert {"snapshot", "validate", "encode", "train", "evaluate", "register"} <= kept
    assert " runs: " in first[0].said
    assert " runs: " not in worker.said
    assert worker.said.count("cached in") == 6


@pytest.mark.parametrize(
    ("server", "path", "body", "refused"),
    [
        ("prefect", "/api/flow_runs/filter", {}, 401),
        ("prefect", "/api/block_documents/filter", {}, 401),
        ("mlflow", "/api/2.0/mlflow/experiments/search", {"max_results": 1}, 401),
        ("mlflow", "/api/2.0/mlflow/registered-models/create", {"name": "intruder"}, 401),
        ("mlflow", "/api/2.0/mlflow-artifacts/artifacts", None, 401),
        ("storage", "/tunesmith-models", None, 403),
        ("storage", "/tunesmith-stages", None, 403),
    ],
)
def test_nobody_without_a_password_is_answered(stack, server, path, body, refused):
    """Neither by the servers nor by the storage behind them."""
    assert ask(stack.addresses[server] + path, body)[0] == refused


def test_a_wrong_password_is_said_in_one_line(stack, first):
    """By the command line, with the variables to set and without a traceback or the password."""
    secret = "not-the-password"
    environment = first[0].environment | {"MLFLOW_TRACKING_PASSWORD": secret}
    command = [sys.executable, "-m", "flows.cli", "lineage", "reviews@challenger"]
    done = subprocess.run(
        command, cwd=first[0].folder, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "401" in done.stderr
    assert secret not in done.stdout + done.stderr


def test_no_secret_is_kept_outside_its_place(stack, first):
    """Not in the stages, the models or the tables of the servers, as somebody could read them."""
    worker = first[0]
    secrets = {word.encode() for word in stack.passwords.values()}
    for path in worker.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert not [word for word in secrets if word in content], path
    with reach_prefect(stack) as client:
        for pool in client.read_work_pools():
            said = pool.base_job_template and json.dumps(pool.base_job_template)
            assert not [word for word in stack.passwords.values() if word in said], pool.name


def test_a_container_is_told_its_secrets_when_it_begins(stack):
    """The Docker pool's template names secret blocks, which the worker resolves."""
    from prefect.utilities.templating import resolve_block_document_references

    with reach_prefect(stack) as client:
        pool = client.read_work_pool("tunesmith-docker")
    told = pool.base_job_template["variables"]["properties"]["env"]["default"]

    async def resolve():
        from prefect.client.orchestration import get_client

        async with get_client() as client:
            return await resolve_block_document_references(told, client=client)

    with temporary_settings(restore_defaults=set(), updates=prefect_settings(stack)):
        found = asyncio.run(resolve())
    assert {name: found[name] for name in stack.storage} == stack.storage
    assert {name: found[name] for name in stack.mlflow()} == stack.mlflow()
