"""How a command ends: one message and the agreed exit code, whatever happened."""

import errno
import json
import sqlite3

import pytest
import typer

from finetuning.errors import Fault, InputError
from flows.answering import answer


def end(error, capsys, as_json=False):
    """Exit code, standard output and standard error of a command that raises."""

    def act():
        raise error

    with pytest.raises(typer.Exit) as caught:
        answer(as_json, act, str)
    return caught.value.exit_code, *capsys.readouterr()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "some/where"), "some/where: No space"),
        (PermissionError(errno.EACCES, "Permission denied", "mine"), "mine: Permission denied"),
        (sqlite3.OperationalError("database is locked"), "Another process"),
        (MemoryError(), "training.batch_size"),
        (KeyboardInterrupt(), "interrupted"),
    ],
)
def test_a_failure_that_is_known_shows_no_traceback(error, said, capsys):
    """One message with its remedy, and exit code 1."""
    code, output, errors = end(error, capsys)
    assert (code, output) == (1, "")
    assert said in errors
    assert "Traceback" not in errors


def test_a_mistake_of_the_user_s_has_its_own_code(capsys):
    """Exit code 2, key, value and remedy."""
    fault = Fault("training.epochs", "0", "At least 1.")
    assert end(InputError([fault]), capsys) == (2, "", f"tunesmith: {fault}\n")


def test_what_nobody_foresaw_is_shown_whole(capsys):
    """The traceback for whoever mends it; and still exactly one JSON object for programs."""
    code, output, errors = end(ZeroDivisionError("oops"), capsys, as_json=True)
    assert code == 1
    assert json.loads(output)["error"] == "unexpected ZeroDivisionError: oops"
    assert "Traceback" in errors
