"""Nothing phones home, and a foreseen failure shows no traceback."""

import errno
import logging
import os
import sys

import pytest

from finetuning.errors import ValidationError
from flows.environment import (
    TELEMETRY_OFF,
    hide_expected,
    is_unanswered,
    leave_failures_to_answer,
    prepare_environment,
)


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


def make_record(message):
    """A log record without an error."""
    return logging.LogRecord("name", logging.INFO, "p", 1, message, (), None)


def test_a_state_repeats_the_first_line_of_a_failure_alone():
    """As Prefect shows it: the message as Python writes it, with its line breaks spelled out."""
    block = "Finished in state Failed('ValidationError: The data failed:\\n- row 3\\n- row 4')"
    record = make_record(block)
    assert hide_expected(record)
    assert record.getMessage() == "Finished in state Failed('ValidationError: The data failed ...')"
    short = make_record("Finished in state Failed('ValueError: no')")
    assert hide_expected(short)
    assert short.getMessage() == "Finished in state Failed('ValueError: no')"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("Running hook 'announce_failure' in response to entering state 'Failed'", False),
        ("Hook 'announce_failure' finished running successfully", False),
        ("Hook 'announce_failure' failed", True),
    ],
)
def test_a_hook_is_heard_of_where_it_fails(message, said):
    """That it ran is of no use to whoever reads what failed."""
    assert hide_expected(make_record(message)) is said


def test_the_terminal_is_left_to_the_end_of_the_command():
    """A foreseen failure is in the log, and not on a terminal that will show it anyway."""
    from prefect.logging.handlers import PrefectConsoleHandler

    handler, foreseen, odd = (
        PrefectConsoleHandler(), record_of(ValidationError("no")), record_of(ZeroDivisionError()),
    )  # fmt: skip
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        leave_failures_to_answer()
    finally:
        root.removeHandler(handler)
    assert hide_expected(foreseen)
    assert hide_expected(odd)
    assert not handler.filter(foreseen)
    assert handler.filter(odd)
    assert is_unanswered(make_record("anything"))
