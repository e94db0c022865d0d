"""What is due, decided from what there is: never from the change that somebody reported.

Whatever is asked twice is answered alike, so a report that is lost, repeated or late costs nothing
but time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

FIRST_WAIT = 60.0  # seconds after a first failure
LONGEST_WAIT = 6 * 3600.0  # seconds
# A run that is under way, one that made a model, one whose answer will not change by asking again
# (the gate, the data's validation, the input), and one that failed or died.
Ending = Literal["under way", "done", "final", "failed"]


@dataclass(frozen=True)
class Attempt:
    """One run that was started for a state of the data. ended: seconds since 1970."""

    ending: Ending
    ended: float | None = None
    said: str = ""


@dataclass(frozen=True)
class Decision:
    """Whether a run is started, as which attempt (from 1), and why or why not."""

    start: bool
    attempt: int
    why: str


def decide_run(
    data_version: str, offered: str | None, attempts: Sequence[Attempt], now: float
) -> Decision:
    """Decide whether a pipeline runs because its data changed.

    Args:
        data_version: The version of the pipeline's data in the repository.
        offered: The data version of the model that was made or offered last; None where there is
            no model yet.
        attempts: The runs started for this change, in their order.
        now: Seconds since 1970.
    """
    number = len(attempts) + 1
    if offered is None:
        return Decision(False, number, "it has no model yet: the first run is yours to start")
    if data_version == offered:
        return Decision(False, number, "nothing changed")
    failures = 0
    for attempt in attempts:
        if attempt.ending == "under way":
            return Decision(False, number, "a run for this data is under way")
        if attempt.ending in ("done", "final"):
            said = f": {attempt.said}" if attempt.said else ""
            return Decision(False, number, f"this data was tried{said}")
        failures += 1
    if failures:
        due = (attempts[-1].ended or 0.0) + wait_after(failures)
        if now < due:
            times = "once" if failures == 1 else f"{failures} times"
            said = f" ({attempts[-1].said})" if attempts[-1].said else ""
            return Decision(
                False, number, f"it failed {times}{said}: again in {max(due - now, 1):.0f} s"
            )
        return Decision(True, number, f"the data changed; attempt {number}")
    return Decision(True, number, "the data changed")


def wait_after(failures: int) -> float:
    """Seconds from the last failure to the next attempt: doubled each time, up to a limit."""
    return min(FIRST_WAIT * 2.0 ** (min(failures, 20) - 1), LONGEST_WAIT)
