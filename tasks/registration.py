"""Register: the gate's verdict, the run's record in MLflow, and the model version."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from finetuning.addresses import hide_password
from finetuning.digests import digest_value
from finetuning.lineage import (
    Lineage,
    describe_python,
    digest_predictions,
    digest_weights,
    list_libraries,
    list_obstacles,
)
from finetuning.statistics import SEED as RESAMPLING
from tasks.abandoned_runs import end_gone, list_running, under_way
from tasks.data_shifts import CHANGE, describe_change, find_change
from tasks.evaluation import EVALUATION, PREDICTIONS
from tasks.judging import describe_candidate, judge_candidate
from tasks.logged_model import keep_model
from tasks.logged_run import LOGGED, log_run, open_run
from tasks.patience import await_registry
from tasks.promotion import check_champion, offer
from tasks.registered_files import REPORT, is_current, list_missing
from tasks.registry import (
    TAG,
    connect,
    find_registered,
    find_tracking_uri,
)
from tasks.registry_tables import read_offer
from tasks.reporting import make_report, render_pages, tell_defeat
from tasks.repository import find_asker, keeps, read_commit
from tasks.stages import Outcome, fetch, perform, stage
from tasks.training import MODEL
from tasks.version_tags import make_tags, tag_verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.planning import Work

# Written again once the version has its number.
NAMING_VERSION = ("verdict.json", "lineage.json", REPORT, "model_card.md")


@stage("register")
def register(work: Work) -> Outcome:
    """Judge the model; record the run; register the model where the gate lets it pass."""
    lock = work.state / "locks" / f"{work.pipeline.name}.register"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(lock):
        await_registry(work.root, get_run_logger().warning)
        outcome, entry = perform(
            work,
            "register",
            lambda folder: _make(work, folder),
            lambda facts: is_current(work.root, work.pipeline.name, facts),
        )
        offer_again(work, entry.facts["model_version"])
        return outcome


def offer_again(work: Work, version: str | None) -> None:
    """Let the registry know that the present data lead to a champion again, not to a later one."""
    if version is not None and read_offer(work.root, work.pipeline.name) != version:
        offer(connect(work.root), work.root, work.pipeline.name, version, automatic=False)


def _make(work: Work, folder: Path) -> dict[str, Any]:
    evaluated = fetch(work, "evaluate")
    metrics: dict[str, float] = dict(evaluated.facts["metrics"])
    details = json.loads((evaluated.folder / EVALUATION).read_text("utf-8"))
    client = connect(work.root)
    check_champion(client, work.pipeline.name)
    digest = work.plans["register"].key
    end_gone(work.root, list_running(work.root))
    run_id = open_run(client, work, digest)
    with under_way(client, work.root, run_id):
        verdict, lineage, version, alias = _record(client, work, folder, run_id, metrics)
    get_run_logger().info("the gate: %s", "; ".join(verdict["reasons"]))
    if defeat := tell_defeat(work.pipeline.problem, metrics, details["baselines"]):
        get_run_logger().warning("%s", defeat)
    for obstacle in lineage.not_reproducible:
        get_run_logger().warning("this model cannot be reproduced: %s", obstacle)
    return {
        "model_version": version,
        "model_uri": None if version is None else f"models:/{work.pipeline.name}/{version}",
        "alias": alias,
        "run_id": run_id,
        "experiment_id": client.get_run(run_id).info.experiment_id,
        "flow_run_id": lineage.flow_run_id,
        "problem": work.pipeline.problem,
        "data_version": work.data.version,
        "metrics": metrics,
        "baselines": details["baselines"],
        "gate": verdict,
        "not_reproducible": list(lineage.not_reproducible),
        "tracking_uri": hide_password(find_tracking_uri(work.root)),
    }


def _record(
    client: MlflowClient, work: Work, folder: Path, run_id: str, metrics: dict[str, float]
) -> tuple[dict[str, Any], Lineage, str | None, str | None]:
    """Judge, log and register: verdict, lineage, the version if there is one, and its alias."""
    digest = work.plans["register"].key
    verdict = judge_candidate(client, work, run_id).to_json()
    lineage = trace(work, verdict, run_id)
    write_record(work, folder, verdict, lineage)
    if client.get_run(run_id).data.tags.get(LOGGED) is None:
        log_run(client, work, run_id, metrics)
        client.set_tag(run_id, LOGGED, "yes")
    # Each time: a model that is judged again may meet another champion.
    client.log_artifacts(run_id, str(folder))
    version, alias = None, None
    tag_verdict(client, work.pipeline.name, digest, verdict)
    if verdict["promote"]:
        version = register_version(client, work, run_id, digest, lineage, folder)
        verdict = verdict | {"candidate": describe_candidate(work, version)}
        write_record(work, folder, verdict, replace(lineage, verdict=verdict))
        for name in NAMING_VERSION:
            client.log_artifact(run_id, str(folder / name))
        automatic = work.pipeline.gate.promote == "auto"
        alias, refusal = offer(client, work.root, work.pipeline.name, version, automatic)
        if refusal:
            get_run_logger().warning("%s", refusal)
    return verdict, lineage, version, alias


def trace(work: Work, verdict: dict[str, Any], run_id: str) -> Lineage:
    """The lineage record of this run."""
    import pandas

    config = work.pipeline.model_dump(mode="json")
    code: dict[str, str] = {}
    for plan in work.plans.values():
        code |= plan.components["code"]
    commit = work.commit or read_commit(work.root)
    evaluated = fetch(work, "evaluate")
    snapshot, trained = fetch(work, "snapshot").facts, fetch(work, "train").facts
    return Lineage(
        pipeline=work.pipeline.name,
        data_path=work.pipeline.data.path,
        data_version=work.data.version,
        data_pointer=work.data.pointer,
        row_digests=snapshot["digests"],
        commit=commit,
        config=config,
        config_digest=digest_value(config),
        code=dict(sorted(code.items())),
        code_digest=digest_value(code),
        base_model=work.base.name,
        base_revision=work.base.revision,
        base_digest=work.base.digest,
        parent=None if work.base.parent is None else asdict(work.base.parent),
        libraries=list_libraries(),
        python=describe_python(),
        device=trained["device"],
        seeds={"training": work.pipeline.training.seed, "resampling": RESAMPLING},
        stages={name: plan.key for name, plan in work.plans.items()},
        weights=digest_weights(fetch(work, "train").folder / MODEL),
        predictions=digest_predictions(pandas.read_parquet(evaluated.folder / PREDICTIONS)),
        metrics=dict(evaluated.facts["metrics"]),
        validation=fetch(work, "validate").facts
        | {"report": f"runs:/{run_id}/validation/index.html"},
        verdict=verdict,
        flow_run_id=None if flow_run.get_id() is None else str(flow_run.get_id()),
        run_id=run_id,
        asked_by=find_asker(work.root),
        not_reproducible=list_obstacles(
            commit, work.data.pointer, work.base, keeps(work.root, work.base.folder)
        ),
    )


def write_record(work: Work, folder: Path, verdict: dict[str, Any], lineage: Lineage) -> None:
    """Write what is kept with the run: pipeline, verdict, lineage, report, validation, rows.

    And what changed in the data since the newest model, if anything did.
    """
    import yaml

    (folder / "pipeline.yaml").write_text(
        yaml.safe_dump(work.pipeline.model_dump(mode="json"), sort_keys=False), "utf-8"
    )
    change = find_change(work)
    written = {"verdict.json": verdict, "lineage.json": lineage.to_json()}
    for name, value in (written | ({CHANGE: change} if change else {})).items():
        (folder / name).write_text(json.dumps(value, indent=1, ensure_ascii=False), "utf-8")
    shutil.copytree(fetch(work, "validate").folder, folder / "validation", dirs_exist_ok=True)
    (folder / "validation" / "manifest.json").unlink(missing_ok=True)
    evaluated = fetch(work, "evaluate").folder
    shutil.copy(evaluated / PREDICTIONS, folder / PREDICTIONS)
    told = describe_change(change) if change else ()
    page, card = render_pages(make_report(work, verdict, lineage, told))
    (folder / REPORT).write_text(page, "utf-8")
    (folder / "model_card.md").write_text(card, "utf-8")


def register_version(
    client: MlflowClient, work: Work, run_id: str, digest: str, lineage: Lineage, folder: Path
) -> str:
    """The model version of this digest: registered now, or by an attempt that did not end."""
    from mlflow.exceptions import MlflowException

    registered = find_registered(client, work.pipeline.name, digest)
    if registered is not None and not list_missing(client, registered):
        return str(registered.version)
    model = keep_model(client, work, run_id)
    try:
        client.create_registered_model(work.pipeline.name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    version = client.create_model_version(
        work.pipeline.name,
        source=f"models:/{model.model_id}",
        run_id=run_id,
        # The tags are written with the version, so that none is ever without its digest.
        tags=make_tags(digest, lineage),
        description=(folder / "model_card.md").read_text("utf-8"),
        model_id=model.model_id,
    )
    return keep_first(client, work.pipeline.name, version, digest)


def keep_first(client: MlflowClient, name: str, version: Any, digest: str) -> str:
    """One version of one model: where it was registered more than once at a time, the first stays.

    It is where an answer was lost and MLflow asked again, or where two machines register at once.
    """
    from mlflow.exceptions import MlflowException

    same = [
        int(one.version)
        for one in client.search_model_versions(f"name='{name}'")
        if one.tags.get(f"{TAG}.digest") == digest and one.source == version.source
    ]
    first = min([*same, int(version.version)])
    for later in same:
        if later != first:
            try:
                client.delete_model_version(name, str(later))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
    return str(first)
