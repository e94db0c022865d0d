"""MLflow's webhooks: what is signed, fresh and new makes a release begin; nothing else does."""

import http.client
import json
import stat
import time

import pytest

from finetuning.signatures import sign
from flows.webhooks import KEY, LARGEST, OWN, describe_server, keep_secret, listen, read_delivery

BODY = json.dumps({"data": {"name": "reviews", "alias": "champion", "version": "2"}}).encode()


@pytest.fixture
def ear(tmp_path):
    """A listener, the secret that it shares, and the names that it acted on."""
    acted = []
    server = listen(tmp_path, acted.append)
    yield server.server_address, keep_secret(tmp_path, OWN, str), acted
    server.shutdown()
    server.server_close()


def send(address, secret, body=BODY, identifier="a", path="/mlflow", **headers):
    """The status of the answer to a delivery."""
    moment = str(int(time.time()))
    connection = http.client.HTTPConnection(*address, timeout=10)
    signed = {
        "X-MLflow-Delivery-Id": identifier,
        "X-MLflow-Timestamp": moment,
        "X-MLflow-Signature": sign(secret, identifier, moment, body),
    }
    connection.request("POST", path, body, signed | headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_delivery_is_acted_on_once(ear):
    """Signed and fresh it is taken; the same one again is a replay."""
    address, secret, acted = ear
    assert address[0] == "127.0.0.1"
    assert [send(address, secret), send(address, secret)] == [204, 401]
    assert send(address, secret, identifier="b") == 204
    deadline = time.monotonic() + 5
    while len(acted) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert acted == ["reviews", "reviews"]


def test_what_is_not_to_be_believed_is_refused(ear):
    """A wrong secret, an old time, another place, an endless body: nothing begins."""
    address, secret, acted = ear
    assert send(address, "guess") == 401
    assert send(address, secret, **{"X-MLflow-Timestamp": "1000000000"}) == 401
    assert send(address, secret, **{"X-MLflow-Signature": ""}) == 401
    assert send(address, secret, path="/other") == 404
    assert send(address, secret, **{"Content-Length": str(LARGEST + 1)}) == 413
    assert send(address, secret, **{"Content-Length": "many"}) in (400, 413)
    assert acted == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"[]", b"null", b"{}", b'{"data": []}', b'{"data": {"name": "a"}}',
        b'{"data": {"name": 1, "alias": "champion"}}', b"[" * 100_000,
        b'{"data": {"name": "a", "alias": "challenger"}}',
    ],
)  # fmt: skip
def test_whatever_a_delivery_says_is_survived(body):
    """Only a champion's model has a name to act on."""
    assert read_delivery(body) is None
    assert read_delivery(BODY) == "reviews"


def test_secrets_are_made_once_and_are_the_owners_alone(tmp_path):
    """The same at the next start; nobody else reads them."""
    first = describe_server(tmp_path)
    assert describe_server(tmp_path) == first
    path = tmp_path / ".tunesmith" / "secrets" / KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
