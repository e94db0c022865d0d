"""What a model's process tells: an answer, a fault of the model, or that a server was away."""

import json
import sys

import pandas
import pytest

from finetuning.errors import TunesmithError
from tasks import answering, pyfunc_process
from tasks.answering import ask_model
from tests.servers import Door, take_port

TABLES = {"test": pandas.DataFrame({"text": ["a"]})}


def ask(monkeypatch, **result):
    """What is made of this end of the process."""
    monkeypatch.setattr(answering, "_run", lambda *_: result)
    return ask_model("models:/toys/1", "http://127.0.0.1:1", TABLES)


@pytest.mark.parametrize(
    "causes",
    [
        ["failed with exception HTTPConnectionPool: Max retries exceeded with url: /x"],
        ["artifacts failed to download", "[Errno 111] Connection refused"],
        ["artifacts failed to download", "API request failed with error code 503 != 200"],
        ["database is locked"],
    ],
)
def test_a_server_that_is_away_says_nothing_of_the_model(monkeypatch, causes):
    """It is an error of the run, which is tried again, and no fault that would refuse a model."""
    with pytest.raises(TunesmithError, match="models:/toys/1 could not be asked"):
        ask(monkeypatch, error="MlflowException: artifacts failed to download", causes=causes)


@pytest.mark.parametrize("said", ["KeyError: 'text'", "OSError: no file named weights"])
def test_a_model_that_fails_is_answered_for(monkeypatch, said):
    """What the model itself raises is its answer."""
    assert ask(monkeypatch, error=said, causes=[said]).error == said


@pytest.mark.parametrize("action", ["shut", "deny"])
def test_the_process_tells_what_lies_behind_an_error(tmp_path, monkeypatch, action):
    """A tracking server that refuses or denies is known by the causes that the process lists."""
    door = Door(take_port())
    if action == "deny":
        door.plans = {"": ["deny"] * 50}
        door.open()
    for name in ("MAX_RETRIES", "BACKOFF_FACTOR", "BACKOFF_JITTER"):
        monkeypatch.setenv(f"MLFLOW_HTTP_REQUEST_{name}", "0")
    result = tmp_path / "result.json"
    request = {"uri": "models:/toys/1", "tracking_uri": door.address, "result": str(result)}
    (tmp_path / "request.json").write_text(json.dumps(request))
    monkeypatch.setattr(sys, "argv", ["process", str(tmp_path / "request.json")])
    with pytest.raises(SystemExit):
        pyfunc_process.main()
    if action == "deny":
        door.shut()
    with pytest.raises(TunesmithError, match="could not be asked"):
        ask(monkeypatch, **json.loads(result.read_text()))
