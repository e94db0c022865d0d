"""Nothing phones home, and a foreseen failure shows no traceback."""

import errno
import logging
import os
import sys

import pytest

from finetuning.errors import ValidationError
from flows.environment import TELEMETRY_OFF, hide_expected, prepare_environment


def record_of(error):
    """A log record as Prefect makes it of an exception."""
    try:
        raise error
    except type(error):
        return logging.LogRecord("name", logging.ERROR, "p", 1, "failed %s", ("x",), sys.exc_info())


def test_telemetry_is_off_whatever_the_environment_says(tmp_path, monkeypatch):
    """A switch that was on before is off after."""
    for name in TELEMETRY_OFF:
        monkeypatch.setenv(name, "on")
    monkeypatch.setenv("PREFECT_HOME", "mine")
    monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
    prepare_environment(tmp_path)
    assert os.environ["GOMP_SPINCOUNT"] == "10000"
    assert {name: os.environ[name] for name in TELEMETRY_OFF} == TELEMETRY_OFF
    assert os.environ["PREFECT_HOME"] == "mine"


def test_mlflow_leaves_standard_output_alone(tmp_path, monkeypatch, capsys):
    """The addresses that it prints where a server tracks would stand before the JSON."""
    from mlflow.store.tracking.rest_store import RestStore
    from mlflow.tracking._tracking_service.client import TrackingServiceClient

    prepare_environment(tmp_path)
    monkeypatch.setattr(RestStore, "update_run_info", lambda *_, **__: None)
    monkeypatch.setattr(RestStore, "get_run", lambda *_: pytest.fail("it looks the run up to tell"))
    TrackingServiceClient("http://127.0.0.1:9").set_terminated("a" * 32)
    assert capsys.readouterr().out == ""


def test_foreseen_failure_loses_its_traceback():
    """The message of an error of our own says all there is to do."""
    record = record_of(ValidationError("row 3 has no label"))
    assert hide_expected(record)
    assert record.exc_info is None
    assert "row 3 has no label" in record.getMessage()


def test_unforeseen_failure_keeps_its_traceback():
    """A mistake in the code must be seen whole."""
    record = record_of(ZeroDivisionError("oops"))
    assert hide_expected(record)
    assert record.exc_info is not None


def test_a_failure_of_a_known_kind_loses_its_traceback():
    """A full disk is nobody's mistake in the code: its message has the remedy."""
    record = record_of(OSError(errno.ENOSPC, "No space left on device"))
    assert hide_expected(record)
    assert record.exc_info is None
    assert "Free some space" in record.getMessage()
