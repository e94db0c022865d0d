"""Failures of known kinds: recognised whatever type they come with, and each has its remedy."""

import errno
import sqlite3

import pytest

from finetuning.errors import InputError, TunesmithError
from finetuning.failures import LONGEST, explain, find_reason, recognise


@pytest.mark.parametrize(
    ("error", "said", "passing"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), "a/b: No space left", False),
        (sqlite3.OperationalError("database or disk is full"), "Free some space", False),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "os error 28", False),
        (PermissionError(errno.EACCES, "Permission denied", "x"), "x: Permission denied", False),
        (sqlite3.OperationalError("attempt to write a readonly database"), "writable", False),
        (MemoryError(), "training.batch_size", False),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "training.max_length", False),
        (sqlite3.OperationalError("database is locked"), "Another process", True),
        (sqlite3.DatabaseError("file is not a database"), "damaged", False),
        (RuntimeError("failed with error code 403 != 200: 'Permission denied'"), "USERNAME", False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), "MLFLOW_TRACKING_URI", True),
    ],
)
def test_known_failures_have_a_remedy(error, said, passing):
    """By the system's number or by what a library says; and whether a retry can help."""
    assert said in str(explain(error))
    assert recognise(error)[0].passing is passing


def test_the_cause_is_found_behind_other_errors():
    """A library's own error around the database's: the line that tells is the one shown."""
    outer = RuntimeError("raised as a result of autoflush\n(sqlite3) database or disk is full\n[x]")
    assert str(explain(outer)).startswith("(sqlite3) database or disk is full. ")
    inner = ValueError("cannot save")
    inner.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    assert str(explain(inner)).startswith("No space left on device. ")


def test_what_is_unknown_stays_unknown():
    """A mistake in the code is not explained away; an error of our own says itself what it is."""
    assert explain(ZeroDivisionError("division by zero")) is None
    assert explain(TunesmithError("No space left on device")) is None
    assert explain(InputError([])) is None
    assert recognise(FileNotFoundError(errno.ENOENT, "No such file")) is None
    assert "nowhere: No such file" in str(
        explain(FileNotFoundError(errno.ENOENT, "No such file", "nowhere"))
    )


def test_the_reason_is_found_in_a_log():
    """The last error that a process named, without its traceback, and not for ever."""
    log = "Traceback (most recent call last):\n  x\nsqlite3.OperationalError: full\n\nExiting.\n"
    assert find_reason(log) == "sqlite3.OperationalError: full"
    assert find_reason("nothing of the kind") is None
    assert len(find_reason("ValueError: " + "x" * 1000)) == LONGEST + 3
