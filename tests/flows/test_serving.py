"""`tunesmith up`: real servers on free ports, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from finetuning.errors import InputError
from flows.environment import TELEMETRY_OFF
from flows.serving import MARK, check_ports, serve_all
from tests.guard import find_secrets, post_guard, read_guard
from tests.servers import ask, await_status, take_port

SECRETS = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "SOMETHING_OF_MY_OWN")
SECRET = "5f0c9d1be27a4f6d"
PIPELINES = Path(__file__).resolve().parents[2] / "pipelines"
CODE = (
    "import sys; from pathlib import Path; from flows.serving import serve_all;"
    "print(serve_all(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))['status'])"
)


def marked_by(parent):
    """Every process that this `up` started, directly or not."""
    mark = None
    for child in psutil.Process(parent).children():
        mark = mark or child.environ().get(MARK)
    found = []
    for process in psutil.process_iter():
        try:
            if mark and process.environ().get(MARK) == mark:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def await_scheduled(api, name):
    """Wait until Prefect's server has scheduled runs of a deployment."""
    wanted = {
        "deployments": {"name": {"any_": [name]}},
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}},
    }
    until = time.monotonic() + 90
    while json.loads(ask(f"{api}/flow_runs/count", wanted)[1]) == 0:
        assert time.monotonic() < until, "the server schedules nothing"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """`up` over a project with the sample's pipeline file: the process, its folder, its ports."""
    tmp_path = tmp_path_factory.mktemp("served")
    (tmp_path / "pipelines").mkdir()
    text = (PIPELINES / "reviews.yaml").read_text("utf-8")
    text += "schedule: 0 6 * * mon\n"
    (tmp_path / "pipelines" / "reviews.yaml").write_text(text, "utf-8")
    ports = take_port(), take_port()
    away = ("PREFECT_", "MLFLOW_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(away)}
    environment = {key: value for key, value in kept.items() if key not in TELEMETRY_OFF}
    environment |= dict.fromkeys(SECRETS, SECRET)
    environment = post_guard(tmp_path / ".guard", environment)
    command = [sys.executable, "-c", CODE, str(tmp_path), *map(str, ports)]
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process, tmp_path, *ports
    if process.poll() is None:
        process.terminate()
        process.communicate(timeout=40)


@pytest.mark.slow
def test_a_part_that_dies_is_started_again(running):
    """MLflow's server, killed, answers again after a moment; Prefect's goes on."""
    process, _, prefect, mlflow = running
    await_status(f"http://127.0.0.1:{mlflow}/health")
    await_status(f"http://127.0.0.1:{prefect}/api/deployments/name/finetune/reviews")
    victim = next(
        child for child in psutil.Process(process.pid).children() if "mlflow" in child.cmdline()
    )
    victim.kill()
    until = time.monotonic() + 10
    while ask(f"http://127.0.0.1:{mlflow}/health")[0] and time.monotonic() < until:
        time.sleep(0.1)
    await_status(f"http://127.0.0.1:{mlflow}/health", patience=60)
    assert ask(f"http://127.0.0.1:{prefect}/api/health")[0] == 200
    assert process.poll() is None


@pytest.mark.slow
def test_a_project_is_served_once(running):
    """A second `up` would take the runs of the first for dead: it is refused on any port."""
    _, root, *_ = running
    with pytest.raises(InputError, match="another `tunesmith up` serves"):
        serve_all(root, take_port(), take_port())


def is_at_work(process):
    """Whether a process goes on; one that has ended and is not yet buried does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
def test_up_serves_takes_up_new_files_and_leaves_nothing_behind(running):
    """Both UIs answer, pipelines are deployments, the UI's schedule stays; SIGTERM ends all.

    This is the last test of the running processes.
    """
    process, root, prefect, mlflow = running
    api = f"http://127.0.0.1:{prefect}/api"
    deployment = json.loads(await_status(f"{api}/deployments/name/finetune/reviews"))
    assert ask(f"http://127.0.0.1:{prefect}/")[0] == 200
    assert json.loads(ask(f"http://127.0.0.1:{prefect}/ui-settings")[1])["api_url"] == api
    assert ask(f"http://127.0.0.1:{mlflow}/")[0] == 200
    assert deployment["parameters"] == {"pipeline": "reviews"}
    assert "tunesmith" in deployment["tags"]
    assert (root / "mlruns" / "mlflow.db").is_file()

    for other in ("watch/watch", "release/release", "compare/compare", "predict/predict"):
        await_status(f"{api}/deployments/name/{other}", patience=60)
    await_scheduled(api, "watch")

    (first,) = deployment["schedules"]
    assert first["schedule"]["cron"] == "0 6 * * mon"
    ask(f"{api}/deployments/{deployment['id']}/schedules/{first['id']}", {"active": False}, "PATCH")
    own = [{"schedule": {"interval": 86400}, "active": False}]
    assert ask(f"{api}/deployments/{deployment['id']}/schedules", own)[0] == 201
    text = (root / "pipelines" / "reviews.yaml").read_text("utf-8")
    (root / "pipelines" / "other.yaml").write_text(text.replace("name: reviews", "name: other"))
    edited = text.replace("path: data/reviews", "path: data/others")
    (root / "pipelines" / "reviews.yaml").write_text(edited, "utf-8")
    (root / "pipelines" / "broken.yaml").write_text("name: [", "utf-8")
    await_status(f"{api}/deployments/name/finetune/other", patience=60)
    until = time.monotonic() + 20
    while "data/others" not in deployment["description"] and time.monotonic() < until:
        deployment = json.loads(ask(f"{api}/deployments/name/finetune/reviews")[1])
        time.sleep(0.3)
    assert "data/others" in deployment["description"]
    schedules = deployment["schedules"]
    assert {one["schedule"].get("interval") for one in schedules} == {None, 86400}
    assert not any(one["active"] for one in schedules)

    started = marked_by(process.pid)
    assert len(started) >= 3
    listening = {
        connection.laddr.ip
        for one in started
        for connection in one.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening == {"127.0.0.1"}
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=40)
    assert process.returncode == 0
    assert output.strip() == "stopped"
    assert f"http://127.0.0.1:{prefect}" in errors
    assert f"http://127.0.0.1:{mlflow}" in errors
    assert "broken is not served" in errors
    assert not [one for one in started if is_at_work(one)]
    tried, processes = read_guard(root / ".guard")
    assert tried == ""
    assert processes >= 4
    assert find_secrets(root, {"SECRET": SECRET}) == []


def test_a_port_that_is_taken_is_named_with_its_option():
    """Something else listens on one of the ports: that port, and the option that sets it."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        with pytest.raises(InputError, match=f"--mlflow-port: found port {taken}") as caught:
            check_ports({"--prefect-port": take_port(), "--mlflow-port": taken})
    assert len(caught.value.faults) == 1


def test_one_port_cannot_be_given_to_both():
    """The same port twice is refused before anything is started."""
    port = take_port()
    with pytest.raises(InputError, match="--mlflow-port"):
        check_ports({"--prefect-port": port, "--mlflow-port": port})
