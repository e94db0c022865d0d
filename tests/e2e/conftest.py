"""What the tests of the main job share: its first run, and a Prefect server, take the longest."""

import json
import os
import secrets
import subprocess
import sys

import pytest

from flows.environment import TELEMETRY_OFF
from tests.guard import post_guard
from tests.servers import await_status, take_port
from tests.support import begin_project, make_environment, run, shell


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory):
    """The API's address of a Prefect server that runs may use instead of starting their own."""
    root, port = tmp_path_factory.mktemp("prefect"), take_port()
    environment = make_environment() | {
        "PREFECT_HOME": str(root), "PREFECT_UI_ENABLED": "0", "PREFECT__SERVER_EPHEMERAL": "1",
        "PREFECT_LOGGING_SERVER_LEVEL": "ERROR",
    }  # fmt: skip
    with (root / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.server", str(port), str(os.getpid())],
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        health = f"http://127.0.0.1:{port}/api/health"
        await_status(health, process=process, log=root / "log")
        yield f"http://127.0.0.1:{port}/api"
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def one_server(prefect_server):
    """Lets all runs of a module use one server, as a team sets its own for all its runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_server)
        yield


@pytest.fixture(scope="session")
def project(tmp_path_factory, bert_folder):
    """A project in a git repository, with versioned data and a pipeline on a tiny model."""
    return begin_project(tmp_path_factory.mktemp("project") / "root", bert_folder, "toy")


SECRETS = (
    *("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PREFECT_API_AUTH_STRING"),
    *("TUNESMITH_WEBHOOK_SECRET", "PREFECT_API_KEY", "SOMETHING_OF_MY_OWN", "DATABASE_URL"),
    *("store", "dvc remote", "git remote"),
)


@pytest.fixture(scope="session")
def spied(tmp_path_factory, project):
    """The first run, watched, with secrets wherever one may stand, and telemetry asked for.

    Returns:
        Its process, the guard's folder, and the secrets by name.
    """
    guard = tmp_path_factory.mktemp("spied") / "guard"
    planted = {name: secrets.token_hex(12) for name in SECRETS}
    asked = ("HF_HUB_OFFLINE", "DO_NOT_TRACK", *TELEMETRY_OFF)
    environment = {
        **{name: value for name, value in make_environment().items() if name not in asked},
        **{name: value for name, value in planted.items() if name.isupper() or "_" in name},
        "PREFECT_API_AUTH_STRING": f"admin:{planted['PREFECT_API_AUTH_STRING']}",
        "TUNESMITH_STORE": f"ftp://me:{planted['store']}@127.0.0.1:1/store",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
        "GX_ANALYTICS_ENABLED": "true",
    }
    address = f"https://me:{planted['git remote']}@git.example.org/team/toy.git"
    shell(project, "git", "remote", "add", "origin", address)
    local = project / ".dvc" / "config.local"
    address = f"https://me:{planted['dvc remote']}@data.example.org/store"
    local.write_text(f"[core]\n    remote = there\n['remote \"there\"']\n    url = {address}\n")
    try:
        done = run(project, "run", "toy", "--json", environment=post_guard(guard, environment))
    finally:
        local.unlink()
        shell(project, "git", "remote", "remove", "origin")
    return done, guard, planted


@pytest.fixture(scope="session")
def first(spied):
    """The JSON of the first run."""
    return json.loads(spied[0].stdout)
