"""The main flow: from a data set's files to a judged and registered model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.logging import get_run_logger

from finetuning.config import Gate, Model, Strategy, Training
from finetuning.errors import RefusedError, ValidationError
from finetuning.pipelines import find_root
from flows.environment import hush_libraries, prepare_environment
from flows.forms import list_changes
from flows.preparation import hold_pipeline, need_work
from tasks.announcing import announce_failure, announce_registration
from tasks.checking import validate
from tasks.data_shifts import tell_change
from tasks.encoding import encode
from tasks.evaluation import evaluate
from tasks.patience import await_flow_server
from tasks.planning import Work, settle
from tasks.registered_files import REPORT
from tasks.registration import register
from tasks.reporting import publish, publish_validation
from tasks.snapshot import snapshot
from tasks.stages import Outcome, fetch
from tasks.training import train
from tasks.watching import check_version


@flow(
    name="finetune",
    flow_run_name="{pipeline}",
    validate_parameters=True,
    on_failure=[announce_failure],
    on_crashed=[announce_failure],
)
def finetune(
    pipeline: str,
    model: Model | None = None,
    strategy: Strategy | None = None,
    training: Training | None = None,
    gate: Gate | None = None,
    overrides: list[str] | None = None,
    data_version: str | None = None,
    reason: str | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Validate, encode, fine-tune, evaluate, judge and register one pipeline.

    Args:
        pipeline: Name of a pipeline file, or its path.
        model: What is set here goes before the file's model.
        strategy: What is set here goes before the file's strategy.
        training: What is set here goes before the file's training.
        gate: What is set here goes before the file's gate.
        overrides: KEY=VALUE items over all of that, such as data.train=more.csv.
        data_version: Version that the data must have, as DVC names it; null takes it as it is.
        reason: Why it runs, for whoever looks.
        root: The project's folder; null looks upwards from the working folder.
    """
    started = time.monotonic()
    root = root or find_root(Path.cwd())
    prepare_environment(root)  # a worker runs the flow without the command line around it
    hush_libraries()
    changes = list_changes(model=model, strategy=strategy, training=training, gate=gate)
    changes += overrides or []
    say_why(reason)
    with hold_pipeline(root, pipeline, changes):
        work = need_work(root, pipeline, changes)
        check_version(work.pipeline.data.path, data_version, work.data.version)
        taken = snapshot(work)
        work = settle(work)
        tell_change(work, return_state=True)  # for people to read: what fails in it stops nothing
        outcomes = [
            taken,
            check_data(work),
            encode(work),
            train(work),
            evaluate(work),
            register(work),
        ]
        return conclude(work, outcomes, time.monotonic() - started)


def check_data(work: Work) -> Outcome:
    """Validate the data and show what came of it, also where it stops the run."""
    try:
        outcome = validate(work)
    except ValidationError:
        publish_validation(work)
        raise
    await_flow_server(get_run_logger().warning)
    publish_validation(work)
    return outcome


def say_why(reason: str | None) -> None:
    """Say in the run's log why it was started."""
    if reason:
        get_run_logger().info("started because %s", reason)


def conclude(work: Work, outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """The run's result, shown in the Prefect UI and kept for the command line.

    Raises:
        RefusedError: The gate refused the model.
    """
    registered = fetch(work, "register")
    facts = registered.facts
    await_flow_server(get_run_logger().warning)
    publish(work, facts, (registered.folder / "model_card.md").read_text("utf-8"))
    announce_registration(work.pipeline.name, facts)
    result = {
        "status": "registered",
        "pipeline": work.pipeline.name,
        **facts,
        "report": str(registered.folder / REPORT),
        "stages": {outcome.stage: outcome.to_json() for outcome in outcomes},
        "seconds": round(seconds, 3),
    }
    if not facts["gate"]["promote"]:
        raise RefusedError("; ".join(facts["gate"]["reasons"]), result | {"status": "refused"})
    if facts["alias"] == "champion":
        result["status"] = "promoted"
    return result
