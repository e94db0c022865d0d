"""What is due in a project: runs because data changed, releases because a champion is new."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from prefect import task
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from finetuning.digests import digest_file
from finetuning.errors import TunesmithError
from finetuning.pipelines import find_pipeline, list_pipelines, load_pipeline
from finetuning.reconciliation import Attempt, Decision, decide_run
from tasks.data_changes import (
    bring,
    find_committed_version,
    follow_branch,
    read_committed_pointer,
)
from tasks.data_state import refuse
from tasks.runs import find_deployment, list_attempts, mark_change, start_run
from tasks.standing import Standing, read_standing
from tasks.wakes import wake

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

RELEASE = "release/release"
QUIET = ("nothing changed",)  # decisions that are nobody's news
Found = TypeVar("Found")


@dataclass(frozen=True)
class DataChange:
    """A pipeline whose data is at another version than its model was made from.

    Attributes:
        folder: The data set's folder.
        version: The version that is committed.
        tag: What the runs have that are started for it.
    """

    name: str
    folder: str
    version: str
    standing: Standing
    tag: str


@task(name="follow")
def follow(root: Path, branch: str | None) -> str | None:
    """Move the checkout forward to a branch of a remote; None leaves it where it is."""
    if branch is None:
        return None
    if commit := follow_branch(root, branch):
        get_run_logger().info("%s: the checkout moved to %s", branch, commit)
    return commit


@task(name="rerun changed")
def rerun_changed(root: Path) -> dict[str, str]:
    """Start every pipeline whose data is not what its model was made from.

    Returns:
        Pipeline -> what was decided, in words. What is wrong with one pipeline stays its own.
    """
    return tell(rerun(root, list_pipelines(root)), get_run_logger().info)


@task(name="release changed")
def release_changed(root: Path) -> dict[str, str]:
    """Start the release of every champion that was not released yet."""
    names = list_pipelines(root)
    said = {name: guard(partial(start_release, root, name)) for name in names}
    return tell(said, get_run_logger().info)


def tell(said: dict[str, str], say: Callable[[str], None]) -> dict[str, str]:
    """Say of what was decided for each pipeline what is news."""
    for name, words in said.items():
        if words not in QUIET:
            say(f"{name}: {words}")
    return said


def guard(decide: Callable[[], Found]) -> Found | str:
    """What was found or decided for one pipeline, or in words what is wrong with it."""
    try:
        return decide()
    except (TunesmithError, OSError) as error:
        return " ".join(str(error).split())


def rerun(root: Path, names: Sequence[str]) -> dict[str, str]:
    """Start the pipelines whose data is not what their models were made from; what was decided.

    Prefect's server is asked once for the earlier attempts of all of them.
    """
    read = cache(read_committed_pointer)  # every pipeline is held against one state of the data
    found = {name: guard(partial(look, root, name, read)) for name in names}
    changes = [one for one in found.values() if isinstance(one, DataChange)]
    if not changes:
        return {name: str(one) for name, one in found.items()}
    with get_client(sync_client=True) as client:
        attempts = list_attempts(client, {change.tag for change in changes})
        return {
            name: guard(partial(start, client, root, one, attempts[one.tag]))
            if isinstance(one, DataChange)
            else one
            for name, one in found.items()
        }


def look(root: Path, name: str, read: Callable[[Path], str]) -> DataChange | str:
    """A pipeline's change of data; in words, why there is none to follow."""
    path = find_pipeline(root, name)
    folder = load_pipeline(path).data.path
    standing = read_standing(root, name)
    version = find_committed_version(root, folder, read(root))
    if standing.data_version in (None, version):
        return decide_run(version, standing.data_version, [], 0.0).why
    # An edited pipeline file is another thing to try.
    tag = mark_change("data", name, version, standing.offered_at, digest_file(path))
    return DataChange(name, folder, version, standing, tag)


def start(
    client: SyncPrefectClient, root: Path, change: DataChange, attempts: Sequence[Attempt]
) -> str:
    """Start a pipeline on its changed data where that is due; what was decided."""
    decision = decide_run(change.version, change.standing.data_version, attempts, time.time())
    if not decision.start:
        return decision.why
    deployment = find_deployment(client, f"finetune/{change.name}")
    if deployment is None:
        return f"the data changed, and nobody serves finetune/{change.name}: tunesmith up"
    bring(root, change.folder)
    reason = _explain(change.folder, change.version, change.standing, decision)
    parameters = {"data_version": change.version, "reason": reason}
    start_run(client, deployment, parameters, change.tag, decision.attempt)
    wake(root)
    return f"started: {reason}"


def _explain(folder: str, version: str, standing: Standing, decision: Decision) -> str:
    before = (standing.data_version or "").removesuffix(".dir")[:12]
    again = f", attempt {decision.attempt}" if decision.attempt > 1 else ""
    return (
        f"{folder} is {version.removesuffix('.dir')[:12]}, version {standing.offered} was made "
        f"from {before}{again}"
    )


def start_release(root: Path, name: str) -> str:
    """Start the release of a model's champion, unless that is done or under way."""
    standing = read_standing(root, name)
    if not standing.is_unreleased:
        return "nothing changed"
    known = (name, str(standing.champion), str(standing.released), standing.outcome)
    tag = mark_change("release", *known)
    with get_client(sync_client=True) as client:
        decision = decide_run(
            str(standing.champion),
            str(standing.released),
            list_attempts(client, [tag])[tag],
            time.time(),
        )
        if not decision.start:
            return f"release of version {standing.champion}: {decision.why}"
        deployment = find_deployment(client, RELEASE)
        if deployment is None:
            return f"version {standing.champion} waits for its release, and nobody serves {RELEASE}"
        start_run(client, deployment, {"model": name}, tag, decision.attempt)
        wake(root)
    return f"release of version {standing.champion} started"


def check_version(folder: str, wanted: str | None, found: str) -> None:
    """Refuse to run on other data than a run was started for.

    Raises:
        InputError: The data has changed since; a run for the new version is started by itself.
    """
    if wanted is not None and wanted != found:
        raise refuse(
            folder,
            f"version {found}, while this run was asked for {wanted}",
            "The data has changed since: run without data_version, or let watch start it.",
        )
