"""MLflow runs whose process was killed are ended by whoever comes next, and no others are."""

import os
import socket
import subprocess
import sys

import pytest

from tasks import abandoned_runs, registry
from tasks.abandoned_runs import FLOW_RUN, PROCESS, end_gone, list_running, name_writer, under_way
from tasks.registry import connect

KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.abandoned_runs import name_writer, under_way
from tasks.registry import connect
root = Path(sys.argv[1])
client = connect(root)
run = client.create_run("0", tags=name_writer()).info.run_id
print(run, flush=True)
with under_way(client, root, run):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client of an empty tracking store."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "mlruns").mkdir()
    return connect(tmp_path)


def test_a_run_whose_process_was_killed_is_ended(client, tmp_path):
    """It seems to be under way until somebody looks; a run of a living process stays."""
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], check=False, capture_output=True, text=True
    )
    killed = done.stdout.strip()
    assert done.returncode < 0, done.stderr
    own = client.create_run("0", tags=name_writer()).info.run_id
    assert client.get_run(killed).info.status == "RUNNING"
    assert list_running(tmp_path).keys() == {killed, own}
    assert end_gone(tmp_path, list_running(tmp_path)) == [killed]
    assert client.get_run(killed).info.status == "KILLED"
    assert client.get_run(own).info.status == "RUNNING"
    assert list_running(tmp_path).keys() == {own}


def test_a_server_that_is_asked_answers_as_the_database_does(client, tmp_path, monkeypatch):
    """Where the store is no database at hand, MLflow's own search is used, on all its pages."""
    experiments = ["0", *(client.create_experiment(name) for name in ("a", "b", "c", "d"))]
    runs = {client.create_run(one, tags=name_writer()).info.run_id for one in 3 * experiments}
    client.create_run("0")  # somebody else's, of which nothing is known
    found = list_running(tmp_path)
    monkeypatch.setattr(abandoned_runs, "ask_questions", lambda *_: None)
    for module in (abandoned_runs, registry):
        monkeypatch.setattr(module, "PAGE", 2)
    assert list_running(tmp_path) == found
    assert found.keys() == runs


def test_a_process_elsewhere_is_known_by_its_flow_run(client, tmp_path):
    """Another machine's process number says nothing here; nor does a number that was given anew."""
    far, ended = (
        {PROCESS: "elsewhere 1 0", FLOW_RUN: "a"},
        {PROCESS: "elsewhere 1 0", FLOW_RUN: "b"},
    )
    again = {PROCESS: f"{socket.gethostname()} {os.getpid()} 5"}
    first, second, third = (
        client.create_run("0", tags=tags).info.run_id for tags in (far, ended, again)
    )
    assert set(end_gone(tmp_path, list_running(tmp_path), {"b"})) == {second, third}
    assert client.get_run(first).info.status == "RUNNING"


@pytest.mark.parametrize(
    ("error", "status"), [(None, "FINISHED"), (ValueError, "FAILED"), (KeyboardInterrupt, "KILLED")]
)
def test_a_run_says_how_it_ended(client, tmp_path, error, status):
    """Well, by an error, or because it was told to stop."""
    run = client.create_run("0", tags=name_writer()).info.run_id
    if error is None:
        with under_way(client, tmp_path, run):
            pass
    else:
        with pytest.raises(error), under_way(client, tmp_path, run):
            raise error
    assert client.get_run(run).info.status == status
