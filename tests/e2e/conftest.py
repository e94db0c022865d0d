"""What the tests of the main job share: its first run, and a Prefect server, take the longest."""

import os
import subprocess
import sys

import pytest

from tests.servers import await_status, take_port
from tests.support import begin_project, make_environment, run_json


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


@pytest.fixture(scope="session")
def first(project):
    """The JSON of the first run."""
    return run_json(project, "run", "toy")
