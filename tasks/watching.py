"""What is due in a project: runs because data changed, releases because a champion is new."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from prefect import task
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from finetuning.digests import digest_file
from finetuning.errors import TunesmithError
from finetuning.pipelines import find_pipeline, list_pipelines, load_pipeline
from finetuning.reconciliation import Decision, decide_run
from tasks.data_changes import bring, find_committed_version, follow_branch
from tasks.data_state import refuse
from tasks.runs import find_deployment, list_attempts, mark_change, start_run
from tasks.standing import Standing, read_standing

RELEASE = "release/release"
QUIET = ("nothing changed",)  # decisions that are nobody's news


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
    say = get_run_logger().info
    return {name: guard(root, name, rerun, say) for name in list_pipelines(root)}


@task(name="release changed")
def release_changed(root: Path) -> dict[str, str]:
    """Start the release of every champion that was not released yet."""
    say = get_run_logger().info
    return {name: guard(root, name, start_release, say) for name in list_pipelines(root)}


def guard(
    root: Path, name: str, decide: Callable[[Path, str], str], say: Callable[[str], None]
) -> str:
    """What was decided for one pipeline, or in words what is wrong with it; news are said."""
    try:
        said = decide(root, name)
    except (TunesmithError, OSError) as error:
        said = " ".join(str(error).split())
    if said not in QUIET:
        say(f"{name}: {said}")
    return said


def rerun(root: Path, name: str) -> str:
    """Start a pipeline where its data is not what its model was made from; what was decided."""
    path = find_pipeline(root, name)
    pipeline = load_pipeline(path)
    standing = read_standing(root, name)
    folder = pipeline.data.path
    version = find_committed_version(root, folder)
    if standing.data_version in (None, version):
        return decide_run(version, standing.data_version, [], 0.0).why
    # An edited pipeline file is another thing to try.
    tag = mark_change("data", name, version, standing.offered_at, digest_file(path))
    with get_client(sync_client=True) as client:
        decision = decide_run(
            version, standing.data_version, list_attempts(client, tag), time.time()
        )
        if not decision.start:
            return decision.why
        deployment = find_deployment(client, f"finetune/{name}")
        if deployment is None:
            return f"the data changed, and nobody serves finetune/{name}: tunesmith up"
        bring(root, folder)
        reason = _explain(folder, version, standing, decision)
        parameters = {"data_version": version, "reason": reason}
        start_run(client, deployment, parameters, tag, decision.attempt)
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
            str(standing.champion), str(standing.released), list_attempts(client, tag), time.time()
        )
        if not decision.start:
            return f"release of version {standing.champion}: {decision.why}"
        deployment = find_deployment(client, RELEASE)
        if deployment is None:
            return f"version {standing.champion} waits for its release, and nobody serves {RELEASE}"
        start_run(client, deployment, {"model": name}, tag, decision.attempt)
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
