"""The main flow: from a data set's files to a judged and registered model."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow

from finetuning.errors import RefusedError
from finetuning.pipelines import find_root
from flows.environment import hush_libraries, prepare_environment
from flows.preparation import hold_pipeline, need_work
from tasks.checking import validate
from tasks.encoding import encode
from tasks.evaluation import evaluate
from tasks.planning import Work
from tasks.registration import register
from tasks.reporting import publish
from tasks.snapshot import snapshot
from tasks.stages import Outcome, fetch
from tasks.training import train


@flow(name="finetune", flow_run_name="{pipeline}", validate_parameters=True)
def finetune(
    pipeline: str, overrides: list[str] | None = None, root: Path | None = None
) -> dict[str, Any]:
    """Validate, encode, fine-tune, evaluate, judge and register one pipeline.

    Args:
        pipeline: Name of a pipeline file, or its path.
        overrides: KEY=VALUE items over the file, such as training.epochs=1.
        root: The project's folder; null looks upwards from the working folder.
    """
    started = time.monotonic()
    root = root or find_root(Path.cwd())
    prepare_environment(root)  # a worker runs the flow without the command line around it
    hush_libraries()
    with hold_pipeline(root, pipeline, overrides or []):
        work = need_work(root, pipeline, overrides or [])
        outcomes = [
            snapshot(work),
            validate(work),
            encode(work),
            train(work),
            evaluate(work),
            register(work),
        ]
        return conclude(work, outcomes, time.monotonic() - started)


def conclude(work: Work, outcomes: list[Outcome], seconds: float) -> dict[str, Any]:
    """The run's result, shown in the Prefect UI and kept for the command line.

    Raises:
        RefusedError: The gate refused the model.
    """
    registered = fetch(work, "register")
    facts = registered.facts
    publish(work.pipeline.name, facts, (registered.folder / "model_card.md").read_text("utf-8"))
    result = {
        "status": "registered",
        "pipeline": work.pipeline.name,
        **facts,
        "stages": {outcome.stage: outcome.to_json() for outcome in outcomes},
        "seconds": round(seconds, 3),
    }
    if not facts["gate"]["promote"]:
        raise RefusedError("; ".join(facts["gate"]["reasons"]), result | {"status": "refused"})
    if facts["alias"] == "champion":
        result["status"] = "promoted"
    return result
