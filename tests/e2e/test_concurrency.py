"""Runs that begin at once end as if one had followed the other."""

import json
import signal
import subprocess
import sys
import time

import psutil
import pytest

from tests.support import begin_project, make_environment

FAST = ("--set", "strategy.kind=head", "--json")


@pytest.fixture
def project(tmp_path, bert_folder):
    """A project with two pipelines and no state yet: no database either."""
    return begin_project(tmp_path / "root", bert_folder, "toy", "other")


def begin(project, name):
    """Begin a run."""
    return subprocess.Popen(
        [sys.executable, "-m", "flows.cli", "run", name, *FAST],
        cwd=project,
        env=make_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    """A run's result and what it said, once it has ended well."""
    output, said = process.communicate(timeout=300)
    assert process.returncode == 0, output + said
    assert "Traceback" not in said
    return json.loads(output), said


def list_servers(project):
    """The processes that serve Prefect's API to this project's runs."""
    found = []
    for process in psutil.process_iter():
        try:
            if "flows.server" in process.cmdline() and process.cwd() == str(project):
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


def test_two_pipelines_at_once_share_the_databases(project):
    """Both begin on databases that are not there yet, and both register."""
    results = [end(process) for process in [begin(project, name) for name in ("toy", "other")]]
    assert [result["model_uri"] for result, _ in results] == ["models:/toy/1", "models:/other/1"]
    for _, said in results:
        assert not [line for line in said.splitlines() if "| WARNING |" not in line]


def test_the_same_pipeline_twice_at_once_makes_one_version(project):
    """One trains; the other says that it waits, once, and finds the model up to date.

    A run before them was killed: its server ends by itself, and nobody waits for it.
    """
    killed = begin(project, "toy")
    until = time.monotonic() + 120
    while not (project / ".tunesmith" / "store").is_dir():
        assert time.monotonic() < until
        time.sleep(0.1)
    assert list_servers(project)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    results = [end(process) for process in [begin(project, "toy") for _ in range(2)]]
    results.sort(key=lambda result: result[0]["status"])
    (made, silent), (same, waited) = results
    assert (made["status"], same["status"]) == ("registered", "unchanged")
    assert made["model_version"] == same["model_version"] == "1"
    assert "under way" not in silent
    assert waited.count("another run of toy is under way") == 1
    assert list_servers(project) == []
