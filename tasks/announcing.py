"""What Prefect's UI and its events tell: releases, registrations, failures, and where to look."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.events import emit_event

from tasks.registry import TAG

if TYPE_CHECKING:
    from tasks.releasing import Release

REGISTERED = "tunesmith.model.registered"
PROMOTED = "tunesmith.model.promoted"
ROLLED_BACK = "tunesmith.model.rolled_back"
FAILED = "tunesmith.run.failed"
FLOW_RUN = f"{TAG}.flow_run_id"  # on an MLflow run
UI = "TUNESMITH_MLFLOW_URL"  # where people open MLflow; `tunesmith up` sets it


def make_key(name: str, kind: str) -> str:
    """An artifact's key: Prefect takes small letters, digits and dashes."""
    return "".join(letter if letter.isalnum() else "-" for letter in f"{name}-{kind}".lower())


def find_ui() -> str | None:
    """Where people open MLflow: what is set, or a tracking server's own address."""
    address = os.environ.get(UI) or os.environ.get("MLFLOW_TRACKING_URI", "")
    return address.rstrip("/") if address.startswith(("http://", "https://")) else None


def tell(event: str, name: str, **facts: Any) -> None:
    """Send an event about a model to whoever listens."""
    emit_event(event, {"prefect.resource.id": f"tunesmith.model.{name}"}, payload=facts)


def link_model(name: str, version: str | None, run_id: str, experiment: str | None = None) -> None:
    """Link from a flow run to the MLflow run and the model version."""
    address = find_ui()
    if address is None:
        return
    if version is not None:
        place = f"{address}/#/models/{name}/versions/{version}"
        said = f"{name}, version {version}, in MLflow"
        create_link_artifact(place, said, key=make_key(name, "model-version"), description=said)
    if experiment is not None:
        place = f"{address}/#/experiments/{experiment}/runs/{run_id}"
        said = f"the MLflow run {run_id}"
        create_link_artifact(place, said, key=make_key(name, "mlflow-run"), description=said)


def describe_flow_run() -> dict[str, str]:
    """What an MLflow run says of the flow run that makes it: its id, and a link to it."""
    from prefect.runtime import flow_run
    from prefect.utilities.urls import url_for

    identifier = flow_run.get_id()
    if identifier is None:
        return {}
    tags = {FLOW_RUN: str(identifier)}
    if address := url_for("flow-run", obj_id=identifier):
        tags["mlflow.note.content"] = f"Made by [this flow run]({address}) in Prefect."
    return tags


def announce_registration(name: str, facts: dict[str, Any]) -> None:
    """Link to the MLflow run and the version of a fine-tuning run, and tell of a new version."""
    version = facts["model_version"]
    link_model(name, version, facts["run_id"], facts.get("experiment_id"))
    if version is not None:
        told = {"version": version, "alias": facts["alias"], "data_version": facts["data_version"]}
        tell(REGISTERED, name, run_id=facts["run_id"], **told)


def announce_failure(flow: Any, flow_run: Any, state: Any) -> None:
    """Tell of a run that failed or died; a hook of the flow."""
    name = str(flow_run.parameters.get("pipeline", flow.name))
    tell(FAILED, name, flow_run_id=str(flow_run.id), reason=str(state.message or state.name))


@task(name="announce promotion")
def announce_promotion(release: Release, moment: str) -> None:
    """Say in Prefect that a champion was released."""
    before = f"version {release.released}" if release.released else "no champion"
    create_markdown_artifact(
        f"**{release.name}**: version {release.version} was released at {moment}, after "
        f"{before}.\n\nIt loaded by `{release.uri}` in a process of its own and answered its input "
        "example.",
        key=make_key(release.name, "release"),
        description=f"{release.name}/{release.version} released",
    )
    link_model(release.name, release.version, "")
    tell(PROMOTED, release.name, version=release.version, replaced=release.released, at=moment)


@task(name="announce refusal")
def announce_refusal(release: Release, reason: str, champion: str | None) -> None:
    """Say in Prefect why a champion was put back."""
    now = f"version {champion} is champion again" if champion else "there is no champion now"
    create_markdown_artifact(
        f"**{release.name}**: version {release.version} is not released, and {now}.\n\n{reason}",
        key=make_key(release.name, "release"),
        description=f"{release.name}/{release.version} put back",
    )
    tell(ROLLED_BACK, release.name, version=release.version, champion=champion, reason=reason)
