"""What every stage shares: skipped where its output is kept, retried where that can help."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from prefect import Task, task
from prefect.logging import get_run_logger
from prefect.tasks import exponential_backoff

from finetuning.errors import (
    InputError,
    RefusedError,
    ShortOfMemoryError,
    SilentServerError,
    ValidationError,
)  # fmt: skip
from finetuning.failures import recognise
from tasks.planning import remember

if TYPE_CHECKING:
    from prefect.client.schemas.objects import State, TaskRun

    from finetuning.store import Entry
    from tasks.planning import Work

NEVER_RETRIED = (
    InputError, ValidationError, RefusedError, ShortOfMemoryError, SilentServerError,
    FloatingPointError, MemoryError, AssertionError, TypeError, AttributeError, KeyError,
    ImportError,
)  # fmt: skip
RETRIES = 3
FIRST_DELAY = 2  # seconds
JITTER = 0.5


Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


@dataclass(frozen=True)
class Outcome:
    """What became of a stage: small, and all that passes between tasks."""

    stage: str
    key: str
    status: str  # ran | cached
    seconds: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """As it stands under `stages` in the command's JSON."""
        return {"status": self.status, "seconds": round(self.seconds, 3), "why": self.why}


def stage(
    name: str,
) -> Callable[[Callable[Parameters, Returned]], Task[Parameters, Returned]]:
    """A Prefect task of that name, retried with growing, jittered delays where that can help."""
    return task(
        name=name,
        retries=RETRIES,
        retry_delay_seconds=exponential_backoff(FIRST_DELAY),
        retry_jitter_factor=JITTER,
        retry_condition_fn=may_help,
    )


def perform(
    work: Work,
    name: str,
    make: Callable[[Path], dict[str, Any]],
    holds: Callable[[Mapping[str, Any]], bool] = lambda _: True,
) -> tuple[Outcome, Entry]:
    """Run a stage, or take its kept output.

    Args:
        work: The run's work.
        name: The stage's name.
        make: Fills an empty folder with the stage's files and returns its facts.
        holds: Whether the facts of a kept output are what making it again would give.
    """
    started = time.monotonic()
    plan = work.plans[name]
    entry = work.store.find(name, plan.key)
    if entry is not None and not holds(entry.facts):
        work.store.discard(name, plan.key)
        entry = None
    if entry is not None:
        work.store.share(entry)
        outcome = Outcome(name, plan.key, "cached", time.monotonic() - started, "nothing changed")
    else:
        get_run_logger().info("%s runs: %s", name, plan.why)
        entry = work.store.keep(name, plan.key, make, plan.components)
        outcome = Outcome(name, plan.key, "ran", time.monotonic() - started, plan.why)
    remember(work, name)
    logger = get_run_logger()
    logger.info("%s: %s in %.1f s, %s", name, outcome.status, outcome.seconds, outcome.why)
    return outcome, entry


def fetch(work: Work, name: str) -> Entry:
    """An earlier stage's kept output.

    Raises:
        FileNotFoundError: It has gone since the stage ended.
    """
    entry = work.store.find(name, work.plans[name].key, verify=False)
    if entry is None:
        raise FileNotFoundError(f"the output of {name} has gone from {work.store.root}: run again")
    return entry


def may_help(_task: Task[Any, Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a retry can help: never against bad data, bad config, or a mistake in the code."""
    try:
        state.result()
    except NEVER_RETRIED:
        return False
    except Exception as error:  # whatever else failed may be the network or the disk
        known = recognise(error)
        return known is None or known[0].passing
    return False
