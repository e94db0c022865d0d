"""Prefect's API for a run: a silent server is said, and a server of our own says why it fails."""

import os
import socket
import subprocess
import sys

import pytest

from finetuning.errors import TunesmithError
from flows import server
from flows.environment import prepare_environment

# In a process of its own: the server lives as long as that.
KILLED = """
import os, signal, sys, time
from pathlib import Path
from flows.environment import prepare_environment
from flows.processes import HOST
from flows.server import reach_server
root = Path(sys.argv[1])
prepare_environment(root)
with reach_server(root) as ready:
    pass
address = os.environ["PREFECT_API_URL"]
import psutil
(child,) = [one for one in psutil.Process().children() if "flows.server" in one.cmdline()]
os.kill(child.pid, signal.SIGKILL)
child.wait(10)
until = time.monotonic() + 60
while not ready() and time.monotonic() < until:
    time.sleep(0.2)
print(ready(), "same" if os.environ["PREFECT_API_URL"] == address else "other")
"""


@pytest.fixture(autouse=True)
def _no_server(tmp_path, monkeypatch):
    """No server is set, and Prefect's home is the test's."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.delenv("PREFECT_HOME", raising=False)
    prepare_environment(tmp_path)


def begin(root):
    """Start Prefect's server, or ask the one that is set, and wait until it answers."""
    with server.reach_server(root):
        pass


@pytest.mark.parametrize(
    ("variable", "reach"),
    [("PREFECT_API_URL", begin), ("MLFLOW_TRACKING_URI", server.reach_tracking)],
)
def test_a_server_that_is_set_and_silent_is_said(tmp_path, monkeypatch, variable, reach):
    """With its address, without the password in it, and both ways out."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{probe.getsockname()[1]}/api"
        monkeypatch.setenv(variable, f"http://me:secret@{place}")
        with pytest.raises(TunesmithError) as caught:
            reach(tmp_path)
    assert place in str(caught.value)
    assert "secret" not in str(caught.value)
    assert f"unset {variable}" in str(caught.value)


def test_a_server_that_cannot_begin_says_why(tmp_path):
    """A damaged database: its own words and the remedy, once, and no address is left set."""
    home = tmp_path / ".tunesmith" / "prefect"
    home.mkdir(parents=True)
    (home / "prefect.db").write_bytes(b"no database at all" * 1000)
    with pytest.raises(TunesmithError, match="file is not a database") as caught:
        begin(tmp_path)
    assert "restore it, or move it away" in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert "PREFECT_API_URL" not in os.environ


def test_a_server_that_is_killed_is_started_again(tmp_path):
    """On the same port and database, so that the run that it belongs to can go on."""
    place = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert place.stdout.split() == ["True", "same"], place.stderr
