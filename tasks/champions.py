"""The champion of a registered model: its aliases, and the record of every change.

MLflow sets an alias without asking what it was. So a change is claimed first, by a record under
the next number, and the registry is read again: a claim holds where no other stands under its
number or after it, and else is withdrawn and tried anew. Of two claims that meet, at least one
reads the other, because each is written before it reads. What is guaranteed, from whichever
machines the changes come, where the registry reads what was written to it:

- No two changes hold one number: the later one is decided again, on what the earlier one left.
- A change that was cut off has either happened, and the next one finishes it, or is taken back.
- A process that stood still for longer than the others' patience puts the aliases right again.

What is not: a change by hand in MLflow's UI takes no number. It counts, and the history shows it
as made elsewhere, but one made in the very moment of another may be overwritten by it.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from finetuning.errors import TunesmithError
from finetuning.succession import ROLLED_BACK, Change, Period, tell_periods
from tasks.planning import STATE
from tasks.registry import CHALLENGER, CHAMPION, PREVIOUS, TAG, list_versions

if TYPE_CHECKING:
    from mlflow import MlflowClient

RECORD = f"{TAG}.champion."
WITHDRAWN = f"{TAG}.rolled_back"  # on a version: when, and by whom
PATIENCE = 3.0  # seconds that a change under way is waited for before it is taken for cut off
ATTEMPTS = 20
LOCKED = 60.0  # seconds
_NUMBER = re.compile(re.escape(RECORD) + r"(\d+)\.\w+")


@dataclass(frozen=True)
class Succession:
    """What the registry says of a model's champion.

    Attributes:
        name: The registered model.
        aliases: Version by alias.
        changes: The recorded changes in their order.
        next_number: The number of the next change.
    """

    name: str
    aliases: dict[str, str]
    changes: tuple[Change, ...]
    next_number: int

    @property
    def champion(self) -> str | None:
        """The version that the alias points at."""
        return self.aliases.get(CHAMPION)

    @property
    def pending(self) -> list[Change]:
        """The changes whose aliases may not have followed yet."""
        return [change for change in self.changes if not change.done]

    def tell(self) -> list[Period]:
        """The champions from the first on."""
        return tell_periods(self.changes, self.champion)


def read_succession(client: MlflowClient, name: str) -> Succession:
    """Ask the registry, once, and take it as it is."""
    model = client.get_registered_model(name)
    numbers = [int(found[1]) for key in model.tags if (found := _NUMBER.fullmatch(key))]
    changes = [
        change
        for key, text in model.tags.items()
        # A record that someone has edited beyond recognition shows as a change made elsewhere.
        if key.startswith(RECORD) and (change := Change.from_text(text)) and key_of(change) == key
    ]
    return Succession(
        name,
        {alias: str(version) for alias, version in model.aliases.items()},
        tuple(sorted(changes, key=lambda change: (change.number, change.mark))),
        max(numbers, default=0) + 1,
    )


def change_champion(
    client: MlflowClient, root: Path, name: str, decide: Callable[[Succession], Change | None]
) -> tuple[Change | None, Succession]:
    """Change the champion of a model, one change at a time.

    On one machine a file lock keeps changes in line; between machines the claim does.

    Args:
        client: A client of the registry.
        root: The project's folder.
        name: The registered model.
        decide: What to change, from what the registry says; None where nothing is to be done. It
            is asked again where another change came first, and may raise.

    Returns:
        The change and the registry's state after it.

    Raises:
        TunesmithError: Other changes would not let this one through.
    """
    lock = root / STATE / "locks" / f"{name}.champion"
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=LOCKED):
            for _ in range(ATTEMPTS):
                state = settle(client, name)
                change = decide(state)
                if change is None:
                    return None, state
                if claim(client, name, change):
                    return change, carry_out(client, name, change)
                time.sleep(random.uniform(0.05, 0.5))
    except Timeout:
        pass
    raise TunesmithError(f"other changes of {name}'s champion are under way: try again")


def settle(client: MlflowClient, name: str) -> Succession:
    """Wait for changes under way; finish or take back the ones that were cut off."""
    first_seen: dict[str, float] = {}
    while (state := read_succession(client, name)).pending:
        now = time.monotonic()
        late = [
            change
            for change in state.pending
            if now - first_seen.setdefault(key_of(change), now) > PATIENCE
        ]
        if not late:
            time.sleep(PATIENCE / 20)
            continue
        change = late[0]
        passed = any(one.done and one.number >= change.number for one in state.changes)
        if change.version == state.champion and not passed:
            follow(client, name, change)
            client.set_registered_model_tag(name, key_of(change), mark_done(change))
        else:
            client.delete_registered_model_tag(name, key_of(change))
    return state


def claim(client: MlflowClient, name: str, change: Change) -> bool:
    """Write the record of a change that is to come; withdraw it where another one is there."""
    client.set_registered_model_tag(name, key_of(change), change.to_text())
    there = read_succession(client, name)
    standing = [key_of(one) for one in there.changes if one.number >= change.number]
    if standing == [key_of(change)]:
        return True
    client.delete_registered_model_tag(name, key_of(change))
    return False


def carry_out(client: MlflowClient, name: str, change: Change) -> Succession:
    """Let the aliases follow a claimed change, and look whether they did.

    Raises:
        TunesmithError: This process stood still so long that another took the change back.
    """
    client.set_registered_model_alias(name, CHAMPION, change.version)
    follow(client, name, change)
    if _holds(read_succession(client, name), change):
        client.set_registered_model_tag(name, key_of(change), mark_done(change))
        return read_succession(client, name)
    state = settle(client, name)
    if state.champion == change.version:
        last = state.changes[-1] if state.changes else None
        version = last.version if last else change.replaced
        point(client, name, CHAMPION, version)
        point(client, name, PREVIOUS, last.previous if last else None)
    raise TunesmithError(f"the registry answered too slowly and {name} stays as it was: try again")


def follow(client: MlflowClient, name: str, change: Change) -> None:
    """What else follows from a change; done twice, it comes to the same.

    `previous` points at what a rollback would bring back. A version that became champion waits
    no longer as `challenger` and is not held to have been rolled back; one that was rolled back
    is marked, and waits no longer either.
    """
    point(client, name, PREVIOUS, change.previous)
    back = change.replaced if change.how == ROLLED_BACK else None
    waiting = read_succession(client, name).aliases.get(CHALLENGER)
    if waiting is not None and waiting in (change.version, back):
        client.delete_registered_model_alias(name, CHALLENGER)
    client.delete_model_version_tag(name, change.version, WITHDRAWN)
    present = {str(found.version) for found in list_versions(client, name)}
    if back in present:
        client.set_model_version_tag(name, back, WITHDRAWN, f"{change.at} by {change.by}")


def point(client: MlflowClient, name: str, alias: str, version: str | None) -> None:
    """Set an alias, or remove it."""
    if version is None:
        client.delete_registered_model_alias(name, alias)
    else:
        client.set_registered_model_alias(name, alias, version)


def key_of(change: Change) -> str:
    """The tag that holds the record of a change."""
    return f"{RECORD}{change.number:06d}.{change.mark}"


def mark_done(change: Change) -> str:
    """The record of a change whose aliases have followed."""
    return replace(change, done=True).to_text()


def _holds(state: Succession, change: Change) -> bool:
    return key_of(change) in map(key_of, state.changes)
