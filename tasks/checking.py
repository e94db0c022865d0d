"""Validate: the snapshot's rows against what is expected of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect.logging import get_run_logger

from finetuning.errors import ValidationError
from tasks.snapshot import read_column, read_compact_rows
from tasks.stages import Outcome, fetch, perform, stage
from tasks.validation import number_keys, validate_rows
from tasks.validation_report import ValidationReport, raise_if_invalid, write_report

if TYPE_CHECKING:
    from tasks.planning import Work


@stage("validate")
def validate(work: Work) -> Outcome:
    """Hold the data against its expectations; a critical one that fails stops the run."""
    outcome, entry = perform(work, "validate", lambda folder: _make(work, folder))
    if not entry.facts["success"]:
        raise ValidationError(
            f"{entry.facts['failures']}\nThe whole report: {entry.folder}/index.html"
        )
    for warned in entry.facts["warned"]:
        get_run_logger().warning("data: %s", warned)
    return outcome


def _make(work: Work, folder: Path) -> dict[str, Any]:
    folder_of_rows = fetch(work, "snapshot").folder
    # Before the rest is read: the keys are as long as the texts, and looked at once.
    keys = number_keys(read_column(folder_of_rows, "key"))
    rows = read_compact_rows(folder_of_rows, without=("key",)).assign(key=keys)
    report = validate_rows(rows, work.pipeline.data, work.pipeline.problem)
    write_report(report, folder)
    return {
        "success": report.success,
        "critical_failures": report.critical_failures,
        "warnings": report.warnings,
        "failures": describe_failures(report),
        "warned": [f"{warned.name}: {warned.finding}" for warned in report.failed("warning")],
    }


def describe_failures(report: ValidationReport) -> str:
    """What `raise_if_invalid` would say; empty where it would not raise."""
    try:
        raise_if_invalid(report)
    except ValidationError as error:
        return str(error)
    return ""
