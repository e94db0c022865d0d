"""Where servers may listen: on this machine, or elsewhere behind logins; nowhere without."""

import base64
import threading
from urllib.error import HTTPError
from urllib.request import Request

import pytest

from finetuning.errors import InputError
from flows import exposure
from flows.databases import lay_database
from flows.exposure import check_exposure, find_address, is_loopback
from flows.processes import await_health, end_part, start
from flows.serving import plan_parts
from tests.servers import OPENER, take_port
from tests.support import call

LOGINS = {
    "PREFECT_API_AUTH_STRING": "admin:drawn-for-this-test",
    "MLFLOW_TRACKING_USERNAME": "admin",
    "MLFLOW_TRACKING_PASSWORD": "drawn-for-this-test",
}


@pytest.fixture
def _no_logins(monkeypatch):
    for name in LOGINS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def _logins(monkeypatch):
    for name, value in LOGINS.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def _library(monkeypatch):
    """As if MLflow's logins had their library."""
    monkeypatch.setattr(exposure.importlib.util, "find_spec", lambda name: name)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
@pytest.mark.usefixtures("_no_logins")
def test_this_machine_needs_no_login(host):
    """Nobody else hears it."""
    assert is_loopback(host)
    check_exposure(host, keeps_models=True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.20", "10.0.0.1", "::ffff:8.8.8.8"])
@pytest.mark.usefixtures("_no_logins", "_library")
def test_elsewhere_is_refused_without_logins(host):
    """Both logins are named at once; where MLflow's server is another's, Prefect's alone."""
    with pytest.raises(InputError) as caught:
        check_exposure(host, keeps_models=True)
    assert [fault.key for fault in caught.value.faults] == ["--host", "--host"]
    said = str(caught.value)
    assert repr(host) in said
    assert all(name in said for name in LOGINS)
    with pytest.raises(InputError) as caught:
        check_exposure(host, keeps_models=False)
    assert "MLFLOW" not in str(caught.value)


@pytest.mark.usefixtures("_no_logins", "_library")
def test_a_name_is_elsewhere(monkeypatch):
    """Whatever it leads to today."""
    monkeypatch.setattr(exposure.socket, "getaddrinfo", lambda *_: [()])
    with pytest.raises(InputError, match="others can reach it"):
        check_exposure("workstation", keeps_models=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PREFECT_API_AUTH_STRING", "admin"),
        ("PREFECT_API_AUTH_STRING", ":secret"),
        ("PREFECT_API_AUTH_STRING", "admin:"),
        ("MLFLOW_TRACKING_USERNAME", ""),
        ("MLFLOW_TRACKING_PASSWORD", "eleven-long"),
    ],
)
@pytest.mark.usefixtures("_logins", "_library")
def test_half_a_login_is_none(monkeypatch, name, value):
    """The one that is wrong is named alone; with both right there is nothing to say."""
    check_exposure("0.0.0.0", keeps_models=True)
    monkeypatch.setenv(name, value)
    with pytest.raises(InputError) as caught:
        check_exposure("0.0.0.0", keeps_models=True)
    (fault,) = caught.value.faults
    assert name in fault.remedy


@pytest.mark.usefixtures("_logins")
def test_the_library_of_mlflows_logins_is_asked_for(monkeypatch):
    """Without it MLflow's server would end with a traceback in a log."""
    monkeypatch.setattr(exposure.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(InputError, match="pip install 'flask-wtf"):
        check_exposure("0.0.0.0", keeps_models=True)


@pytest.mark.usefixtures("_no_logins")
def test_up_refuses_before_anything_starts(tmp_path):
    """Exit code 2, and no server, lock or folder is made; what is no host at all is said so."""
    (tmp_path / "pipelines").mkdir()
    result = call(tmp_path, "up", "--host", "0.0.0.0", code=2)
    assert "PREFECT_API_AUTH_STRING" in result.output
    result = call(tmp_path, "up", "--host", "no such host", code=2)
    assert "address of this machine" in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["pipelines"]


def test_addresses_by_hand():
    """All addresses of a machine include its own; an IPv6 one stands in brackets."""
    assert find_address("0.0.0.0", 80) == "http://127.0.0.1:80"
    assert find_address("::", 80) == "http://[::1]:80"
    assert find_address("10.0.0.1", 80) == "http://10.0.0.1:80"


def status(url, login=None):
    """The status of an answer, by a name and password or none."""
    request = Request(url)
    if login:
        request.add_header("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
    try:
        with OPENER.open(request, timeout=30) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


@pytest.mark.slow
@pytest.mark.usefixtures("_logins")
@pytest.mark.parametrize(
    ("number", "place", "library"),
    [
        (0, "api/deployments/name/a/b", "prefect"),
        (1, "api/2.0/mlflow/users/get?username=admin", "flask_wtf"),
    ],
)
def test_a_server_that_is_heard_elsewhere_asks_for_its_login(
    tmp_path, monkeypatch, number, place, library
):
    """401 without the login and with a wrong one; with it, the answer."""
    pytest.importorskip(library)
    for name in ("PREFECT_HOME", "PREFECT_API_URL", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    ports = take_port(), take_port()
    part = plan_parts(tmp_path, *ports, "mark", "0.0.0.0")[0][number]
    url = f"http://127.0.0.1:{ports[number]}/{place}"
    lay_database(tmp_path / "prefect")
    start(part, tmp_path)
    try:
        await_health(part, threading.Event())
        right = LOGINS["PREFECT_API_AUTH_STRING"]
        assert [status(url), status(url, "admin:wrong")] == [401, 401]
        assert status(url, right) == (404 if number == 0 else 200)
    finally:
        end_part(part)
    assert "drawn-for-this-test" not in part.log.read_text()
