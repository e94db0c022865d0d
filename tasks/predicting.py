"""Scoring as Prefect's tasks: tried again where that can help, shown in its UI."""

from __future__ import annotations

import time
from typing import Any

from prefect.artifacts import create_table_artifact
from prefect.logging import get_run_logger

from tasks.scoring import Scored, conclude, score
from tasks.scoring_jobs import Job
from tasks.stages import stage

LOGGED = 10.0  # seconds between two lines of the log


@stage("score")
def score_job(job: Job) -> Scored:
    """Score the rows that are not scored yet; a retry goes on after the last whole part."""
    logger, done, said = get_run_logger(), 0, time.monotonic()
    logger.info("%s scores %s: %d rows", job.scorer.label, job.source.path, job.source.rows)

    def tell(rows: int) -> None:
        nonlocal done, said
        done += rows
        if time.monotonic() - said > LOGGED:
            said = time.monotonic()
            logger.info("%d of %d rows", done, job.source.rows)

    scored = score(job, tell)
    logger.info("scored in %.1f s, %d rows kept from before", scored.seconds, scored.kept)
    return scored


@stage("write")
def write_output(job: Job, scored: Scored) -> dict[str, Any]:
    """Put the output together, and show what it holds in the Prefect UI."""
    result = conclude(job, scored)
    get_run_logger().info("%d rows written to %s", result["rows"], result["output"])
    name = "".join(letter if letter.isalnum() else "-" for letter in job.scorer.name.lower())
    rows = [{"what": f"label {label}", "rows": count} for label, count in result["labels"].items()]
    rows += [
        {"what": "without an answer", "rows": result["unscored_rows"]},
        {"what": "all", "rows": result["rows"]},
    ]
    create_table_artifact(
        table=rows,
        key=f"{name}-predictions",
        description=f"{result['model']} on {result['input']}, written to {result['output']}",
    )
    return result
