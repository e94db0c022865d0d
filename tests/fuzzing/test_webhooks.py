"""Whatever is sent to the webhook's port: answered, and nothing begins that was not signed."""

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from finetuning.signatures import Gatekeeper, sign
from flows.webhooks import listen, read_delivery
from tests.fuzzing.survival import survive
from tests.fuzzing.values import CELLS, JSON, splice

SOUND = [
    b'{"data": {"name": "reviews", "alias": "champion", "version": "2"}}',
    b'{"data": [[[[]]]], "timestamp": 1e999}',
]
BODIES = st.binary(max_size=200) | splice(SOUND) | st.builds(str.encode, st.text(max_size=99))
REQUEST = (
    b"POST /mlflow HTTP/1.1\r\nHost: 127.0.0.1\r\nX-MLflow-Delivery-Id: a\r\n"
    b"X-MLflow-Timestamp: 1700000000\r\nX-MLflow-Signature: v1,AAAA\r\nContent-Length: 2\r\n\r\n{}"
)


@given(body=BODIES | st.builds(lambda value: repr(value).encode("utf-8", "replace"), JSON))
def test_any_body_names_a_model_or_none(body):
    """Once it is believed, it still may say anything."""
    name = survive(read_delivery, body)
    assert name is None or isinstance(name, str)


# As they come out of a header: a byte a character.
HEADERS = CELLS.map(lambda text: text.encode("latin-1", "ignore").decode("latin-1"))
TIMES = st.integers().map(str) | st.integers(999_999_000, 1_000_001_000).map(str)


@given(
    identifier=HEADERS,
    timestamp=HEADERS | TIMES | st.just("9" * 5000),
    signature=HEADERS,
    body=BODIES,
)
def test_no_other_signature_is_believed(identifier, timestamp, signature, body):
    """Any headers but the signed ones are refused; signed ones are, where their time is odd."""
    gatekeeper = Gatekeeper("secret")
    reason = survive(gatekeeper.reject, identifier, timestamp, signature, body, 1e9)
    assert reason
    signed = survive(sign, "secret", identifier, timestamp, body)
    again = survive(gatekeeper.reject, identifier, timestamp, str(signed), body, 1e9)
    plain = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 99
    near = plain and abs(1e9 - int(timestamp)) <= 300
    assert (again is None) == bool(identifier and near)


@pytest.fixture(scope="module")
def ear(tmp_path_factory):
    """The listener's address, and the names that it acted on."""
    acted = []
    server = listen(tmp_path_factory.mktemp("ear"), acted.append)
    yield server.server_address, acted
    server.shutdown()
    server.server_close()


def send(address, content):
    """What the listener answers to raw bytes, after which nothing more is sent."""
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(content)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while more := connection.recv(4096):
                answer += more
        except ConnectionResetError:  # it did not wait for the rest of what is no request
            return answer
    return answer


@given(content=st.binary(max_size=200) | splice([REQUEST]))
def test_any_bytes_are_answered_and_nothing_begins(ear, content, capfd):
    """Headers, lengths and lines of any kind; no traceback stands in the log."""
    address, acted = ear
    answer = survive(send, address, content)
    assert b" 204 " not in answer.split(b"\r\n")[0]
    assert acted == []
    assert "Traceback" not in capfd.readouterr().err
