"""A tracking server that is away: waited for aloud, and not for ever."""

import time

import pytest

from finetuning.errors import InputError, SilentServerError
from tasks import patience
from tasks.patience import await_registry, find_silence, read_patience
from tests.servers import Door, take_port


@pytest.fixture
def server(monkeypatch):
    """A door to nothing: it denies, or is shut; the environment names it."""
    door = Door(take_port())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://us:secret@127.0.0.1:{door.port}/")
    monkeypatch.setenv("TUNESMITH_PATIENCE", "20")
    monkeypatch.setattr(patience, "FIRST_PAUSE", 0.05)
    return door


def test_a_server_that_is_down_is_waited_for_and_named(server, tmp_path):
    """Refused, then denied by a proxy, then there: each look is said, with what is waited for."""
    said = []

    def say(text):
        said.append(text)
        if len(said) == 2:
            server.plans = {"/health": ["deny", "accept"]}
            server.open()

    await_registry(tmp_path, say)
    server.shut()
    assert len(said) == 3
    assert "Connection refused" in said[0]
    assert "503 Service Unavailable" in said[2]
    for text in said:
        assert text.startswith(f"MLflow's server at 127.0.0.1:{server.port} does not answer (")
        assert text.endswith("what was made so far is kept")
        assert "secret" not in text


def test_the_wait_ends_with_one_sentence(server, tmp_path, monkeypatch):
    """It says for how long it was waited, what is kept, and what goes on from there."""
    monkeypatch.setenv("TUNESMITH_PATIENCE", "0.3")
    said, started = [], time.monotonic()
    with pytest.raises(SilentServerError) as caught:
        await_registry(tmp_path, said.append)
    assert time.monotonic() - started < 60  # not the 300 that it would be
    assert said
    assert str(caught.value) == (
        f"MLflow's server at 127.0.0.1:{server.port} has not answered for 0 s ([Errno 111] "
        "Connection refused); what was made so far is kept, a trained model with its metrics, too: "
        "the same command goes on from there without training it again"
    )
    assert caught.value.exit_code == 1


def test_pauses_grow_up_to_a_limit(monkeypatch):
    """Each is about twice the one before."""
    monkeypatch.setattr(patience.random, "uniform", lambda *_: 1.0)
    pauses = patience._pauses()
    assert [next(pauses) for _ in range(7)] == [1, 2, 4, 8, 16, 30, 30]


def test_a_database_is_not_waited_for(tmp_path, monkeypatch):
    """A project's own registry has no server."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    await_registry(tmp_path, pytest.fail)


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_a_patience_that_is_no_number_is_the_users_mistake(monkeypatch, value):
    """The variable and the remedy are named."""
    monkeypatch.setenv("TUNESMITH_PATIENCE", value)
    with pytest.raises(InputError) as caught:
        read_patience()
    assert caught.value.faults[0].key == "TUNESMITH_PATIENCE"


def test_a_refusal_is_an_answer():
    """A server that wants a password is there."""
    door = Door(take_port())
    door.plans = {"/health": ["forbid", "deny"]}
    door.open()
    assert find_silence(door.address) is None
    assert find_silence(door.address) == "503 Service Unavailable"
    door.shut()
    assert find_silence(door.address) == "[Errno 111] Connection refused"
    assert find_silence("http://127.0.0.1:notaport") is not None
