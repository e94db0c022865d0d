"""Stages are retried where that can help, and nowhere else."""

import errno

import pytest

from finetuning.errors import Fault, InputError, RefusedError, ValidationError
from tasks.stages import RETRIES, may_help, stage


class Ended:
    """A task run's final state, as Prefect hands it to the condition."""

    def __init__(self, error):
        self.error = error

    def result(self):
        """Raise what the task raised."""
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        InputError([Fault("key", "found", "remedy")]),
        ValidationError("bad rows"),
        RefusedError("too low"),
        FloatingPointError("diverged"),
        MemoryError(),
        KeyError("typo"),
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied"),
    ],
)
def test_what_cannot_change_is_not_retried(error):
    """Bad input or data, a refusal, a mistake in the code, a full disk end a stage at once."""
    assert may_help(None, None, Ended(error)) is False


@pytest.mark.parametrize("error", [OSError("disk"), ConnectionError("network"), TimeoutError()])
def test_input_and_output_are_retried(error):
    """What the disk or the network did may not happen again."""
    assert may_help(None, None, Ended(error)) is True


def test_stage_is_a_prefect_task_with_its_own_retries():
    """A stage bears its name in Prefect, and its retries grow with jitter."""

    @stage("example")
    def example() -> int:
        """One."""
        return 1

    assert example.name == "example"
    assert example.retries == RETRIES
    assert example.retry_jitter_factor > 0
