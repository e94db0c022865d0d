"""Promotion and rollback: what may become champion, and why not."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import Fault, InputError, RefusedError, wrong
from finetuning.succession import LONGEST_REASON, PROMOTED, ROLLED_BACK, Change, find_earlier
from tasks.champions import WITHDRAWN, Succession, change_champion, read_succession
from tasks.registered_files import list_missing
from tasks.registry import (
    CHALLENGER,
    CHAMPION,
    OFFERED,
    PREVIOUS,
    find_champion,
    find_version,
    list_versions,
    split_reference,
)
from tasks.repository import find_asker
from tasks.verdicts import list_refusals, name_champion, read_verdict, refuse, shorten

if TYPE_CHECKING:
    from mlflow import MlflowClient


def promote(
    client: MlflowClient,
    root: Path,
    reference: str,
    override: str | None = None,
    why: str | None = None,
) -> tuple[Change | None, Succession]:
    """Make a version champion; the champion until then is kept as `previous`.

    The alias `challenger` is removed where it points at that version: it waits no longer.

    Args:
        client: A client of the registry.
        root: The project's folder.
        reference: NAME (its challenger), NAME/VERSION or NAME@ALIAS.
        override: Promote it whatever its verdict says; the reason is recorded.
        why: What the history gives as the reason.

    Returns:
        The change, None where the version was champion already, and the registry's state.

    Raises:
        InputError: There is no such version, or its files are gone.
        RefusedError: Its verdict refused it, is missing, or was held against another champion
            than the present one; or the version was rolled back.
    """
    reason = check_reason("--override", override)
    name, number = choose_version(client, reference)

    def decide(state: Succession) -> Change | None:
        version = client.get_model_version(name, number)
        check_files(client, version)
        if state.champion == number:
            return None
        verdict = read_verdict(client, version)
        refusals = list_refusals(version, verdict, state.champion)
        if refusals and reason is None:
            raise refuse(name, number, refusals, state.champion)
        return make_change(
            root,
            state,
            number,
            previous=find_earlier(state.tell(), list_usable(client, state) - {number}),
            how=PROMOTED,
            # A reason that set nothing aside is still the reason that was given.
            why=why or (None if refusals else reason),
            verdict=verdict and shorten(verdict),
            override=reason if refusals else None,
        )

    return change_champion(client, root, name, decide)


def offer(
    client: MlflowClient, root: Path, name: str, version: str, automatic: bool
) -> tuple[str | None, str | None]:
    """Let a version that was just registered wait as challenger, or promote it.

    A registration that is made again finds a version that has gone on since: a champion stays
    one, and what was rolled back is not offered again.

    Args:
        client: A client of the registry.
        root: The project's folder.
        name: The registered model.
        version: The version.
        automatic: Whether it is promoted where nothing forbids it.

    Returns:
        The alias that it has, None where it was rolled back; and why it was not promoted, None
        where it was or was not to be.
    """
    found = client.get_model_version(name, version)
    moment = datetime.now(UTC).isoformat(timespec="milliseconds")
    client.set_registered_model_tag(name, OFFERED, f"{version} {moment}")
    if CHAMPION in found.aliases:
        return CHAMPION, None
    if WITHDRAWN in found.tags:
        return None, f"{name}/{version} was rolled back and is not offered again"
    client.set_registered_model_alias(name, CHALLENGER, version)
    if not automatic:
        return CHALLENGER, None
    try:
        promote(client, root, f"{name}/{version}", why="gate.promote: auto")
    except RefusedError as error:
        return CHALLENGER, str(error)
    return CHAMPION, None


def roll_back(
    client: MlflowClient, root: Path, name: str, why: str | None = None
) -> tuple[Change | None, Succession]:
    """Make the champion before the present one champion again, and mark the present one.

    That is the version which the alias `previous` points at; after a change made elsewhere, the
    champion before that change. A marked version is not brought back by a later rollback, which
    goes on backwards through the history.

    Raises:
        InputError: There is nothing to go back to, or its files are gone.
    """
    reason = check_reason("--reason", why)
    find_version(client, name)

    def decide(state: Succession) -> Change:
        target = find_target(client, state)
        check_files(client, find_version(client, f"{name}/{target}"))
        earlier = list_usable(client, state) - {target, state.champion}
        previous = find_earlier(state.tell(), earlier)
        return make_change(root, state, target, previous=previous, how=ROLLED_BACK, why=reason)

    return change_champion(client, root, name, decide)


def make_change(
    root: Path, state: Succession, version: str, *, previous: str | None, how: str, **facts: Any
) -> Change:
    """The next change of a model's champion, made now by whoever asks."""
    return Change(
        number=state.next_number,
        mark=uuid.uuid4().hex[:12],
        version=version,
        replaced=state.champion,
        previous=previous,
        how=how,
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        by=find_asker(root)[:200],
        **facts,
    )


def choose_version(client: MlflowClient, reference: str) -> tuple[str, str]:
    """Name and number of the version that is to be promoted.

    Raises:
        InputError: There is no such version, or no challenger waits.
    """
    name, alias, version = split_reference(reference)
    found = find_version(client, reference)
    if alias is None and version is None:
        aliases = read_succession(client, name).aliases
        if CHALLENGER not in aliases:
            there = name_champion(aliases.get(CHAMPION))
            remedy = f"Name a version, such as {name}/{found.version}, or run: tunesmith run {name}"
            fault = Fault("MODEL", f"{name!r}, where no challenger waits ({there})", remedy)
            raise InputError([fault])
        found = find_version(client, f"{name}@{CHALLENGER}")
    return name, str(found.version)


def check_files(client: MlflowClient, version: Any) -> None:
    """Refuse a version whose model is gone.

    Raises:
        InputError: Its MLmodel file or its weights are not where the registry says.
    """
    if missing := list_missing(client, version):
        place = client.get_model_version_download_uri(version.name, str(version.version))
        remedy = (
            "Bring its files back, name another version, or make one anew: "
            f"tunesmith run {version.name}"
        )
        where = f"{version.name}/{version.version}"
        raise InputError([Fault(where, f"no {' and no '.join(missing)} under {place}", remedy)])


def check_champion(client: MlflowClient, name: str) -> None:
    """Refuse to begin what would end in a comparison with a champion whose model is gone.

    Raises:
        InputError: The champion's files are not where the registry says.
    """
    champion = find_champion(client, name)
    missing = [] if champion is None else list_missing(client, champion)
    if champion is not None and missing:
        place = client.get_model_version_download_uri(name, str(champion.version))
        remedy = (
            "Bring its files back, or take the alias champion from it (tunesmith rollback "
            f"{name} gives it to the champion before), and run again."
        )
        where = f"{name}/{champion.version}, the champion"
        raise InputError([Fault(where, f"no {' and no '.join(missing)} under {place}", remedy)])


def check_reason(option: str, reason: str | None) -> str | None:
    """A reason in one line; an empty one is none.

    Raises:
        InputError: Nothing is said, or too much.
    """
    text = None if reason is None else " ".join(reason.split())
    if text == "":
        raise wrong(option, reason, "Say why in a few words: the history shows it.")
    if text is not None and len(text) > LONGEST_REASON:
        raise wrong(option, len(text), f"Say it in at most {LONGEST_REASON} characters.")
    return text


def list_usable(client: MlflowClient, state: Succession) -> set[str]:
    """The versions that may be `previous`: the champion, and all that were not rolled back."""
    return {
        number
        for found in list_versions(client, state.name)
        if (number := str(found.version)) == state.champion or WITHDRAWN not in found.tags
    }


def find_target(client: MlflowClient, state: Succession) -> str:
    """The version that a rollback brings back.

    Raises:
        InputError: There is none.
    """
    target = state.aliases.get(PREVIOUS)
    changed_elsewhere = bool(state.changes) and state.changes[-1].version != state.champion
    if target is None or changed_elsewhere:
        earlier = {number for number in list_usable(client, state) if number != state.champion}
        target = find_earlier(state.tell(), earlier)
    if target is None or target == state.champion:
        there = name_champion(state.champion)
        remedy = f"Name the version to go to: tunesmith promote {state.name}/VERSION"
        fault = Fault("MODEL", f"{state.name!r}, which has no previous champion ({there})", remedy)
        raise InputError([fault])
    return target
