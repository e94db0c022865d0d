"""Every error that a user can meet, and the exit code it ends a command with.

TunesmithError          1  a run failed
├── NotReproducedError  1  a model that was made again is not the recorded one
├── UnhealthyError      1  the machine or the project lacks what a run needs
├── ShortOfMemoryError  1  a training does not fit into the memory, one row at a time
├── SilentServerError   1  a server that is needed has been away for too long
├── InputError          2  the user's input is wrong (file, key, column, label, name)
├── ValidationError     3  the data failed validation
└── RefusedError        4  the gate refused the model
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

Value = TypeVar("Value")
SAID = 100  # faults of one input in a message; a hostile file may have a hundred thousand


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with the input: where, what was found there, and what to do."""

    key: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.key}: found {self.found}. {self.remedy}"


class TunesmithError(Exception):
    """A run failed for a reason that is known and said."""

    exit_code = 1


class NotReproducedError(TunesmithError):
    """A model that was made again from its record differs; `result` says in what."""

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        self.result = result or {}
        super().__init__(message)


class UnhealthyError(TunesmithError):
    """The machine or the project lacks what a run needs; `result` has each check."""

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        self.result = result or {}
        super().__init__(message)


class ShortOfMemoryError(TunesmithError):
    """A training does not fit into the memory, with one row at a time already."""


class SilentServerError(TunesmithError):
    """A server that is needed has been away for longer than is waited for."""


class InputError(TunesmithError):
    """The user's input is wrong; all of its faults are listed at once."""

    exit_code = 2

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[:SAID]]
        if len(self.faults) > SAID:
            lines.append(f"and {len(self.faults) - SAID:,} more faults")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[InputError], tuple[tuple[Fault, ...]]]:
        return type(self), (self.faults,)


class ValidationError(TunesmithError):
    """The data failed a critical expectation."""

    exit_code = 3


class RefusedError(TunesmithError):
    """The gate refused the model; `result` says all that the run found."""

    exit_code = 4

    def __init__(self, message: str, result: dict[str, Any] | None = None) -> None:
        self.result = result or {}
        super().__init__(message)


def wrong(key: str, found: object, remedy: str) -> InputError:
    """An InputError with a single fault."""
    return InputError([Fault(key, repr(found) if isinstance(found, str) else str(found), remedy)])


def collect(faults: list[Fault], find: Callable[[], Value]) -> Value | None:
    """What is found; where the input is wrong, None, and its faults beside those there are."""
    try:
        return find()
    except InputError as error:
        faults += error.faults
        return None
