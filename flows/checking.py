"""`tunesmith validate`: the data held against its expectations, without Prefect or training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import TunesmithError, ValidationError
from finetuning.locks import fill, hold
from finetuning.pipelines import find_pipeline, load_pipeline
from finetuning.snapshots import take_snapshot
from flows.environment import prepare_environment
from flows.preparation import resolve_data
from tasks.planning import STATE
from tasks.validation import validate_rows
from tasks.validation_report import printable, raise_if_invalid, write_report
from tasks.versioning import hash_folder

if TYPE_CHECKING:
    from tasks.validation_report import ValidationReport

PAGE = "index.html"
NAMED = 3  # rows that are shown of an expectation that was not met


def validate_pipeline(root: Path, name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Validate a pipeline's data; the base model need not be at hand.

    Args:
        root: The project's folder.
        name: Pipeline name or file.
        overrides: KEY=VALUE items.

    Returns:
        What was found, and the page that shows it, under .tunesmith/validation/NAME/.

    Raises:
        InputError: The pipeline file or the data set is wrong.
        ValidationError: A critical expectation was not met.
    """
    prepare_environment(root)
    pipeline = load_pipeline(find_pipeline(root, name), overrides)
    version = resolve_data(root, pipeline.data.path)
    rows = take_snapshot(root / pipeline.data.path, pipeline.data, pipeline.problem)
    if hash_folder(root, pipeline.data.path) != version.files:
        raise TunesmithError(f"{pipeline.data.path} was changed while it was read: validate again")
    report = validate_rows(rows, pipeline.data, pipeline.problem)
    page = keep_report(root, pipeline.name, report) / PAGE
    try:
        raise_if_invalid(report)
    except ValidationError as error:
        raise ValidationError(f"{error}\nThe whole report: {page}") from None
    found = report.to_json()
    del found["success"]
    return {
        "status": "valid",
        "pipeline": pipeline.name,
        "data_version": version.version,
        **found,
        "report": str(page),
    }


def keep_report(root: Path, name: str, report: ValidationReport) -> Path:
    """Write a report where the pipeline's last one was; nobody ever finds half of one there."""
    top = root / STATE / "validation"
    lock = root / STATE / "locks" / f"{name}.validation"
    with hold(lock), fill(top, name) as made:
        former = made.with_name("former")
        write_report(report, made)
        if (top / name).exists():
            (top / name).rename(former)
        try:
            made.rename(top / name)
        except OSError:
            if former.exists():
                former.rename(top / name)
            raise
    return top / name


def describe_validation(result: dict[str, Any]) -> str:
    """What was found, for people."""
    expectations, warnings = result["expectations"], result["warnings"]
    met = sum(1 for outcome in expectations if outcome["success"])
    rows = ", ".join(f"{count:,} {split}" for split, count in result["rows"].items() if count)
    lines = [
        f"{result['pipeline']}: the data is valid, {met} of {len(expectations)} expectations met",
        f"  rows     {rows}",
        f"  version  {result['data_version']}",
    ]
    if warnings:
        lines.append(f"  {warnings} worth a look:")
    for outcome in expectations:
        if not outcome["success"]:
            lines.append(f"  - {printable(outcome['name'])}: {_count(outcome)}")
            lines += [f"      {_name(example)}" for example in outcome["examples"][:NAMED]]
            lines.append(f"    {printable(outcome['remedy'])}")
    lines.append(f"  report   {result['report']}")
    return "\n".join(lines)


def _name(example: dict[str, Any]) -> str:
    value = "null" if example["value"] is None else f"'{printable(example['value'])}'"
    return f"{printable(example['file'])} row {example['row']}: {value}"


def _count(outcome: dict[str, Any]) -> str:
    if outcome["unexpected_count"] is None:
        return f"found {printable(outcome['observed'])}" if outcome["observed"] else "not so"
    return f"{outcome['unexpected_count']:,} row{'s' * (outcome['unexpected_count'] != 1)}"
