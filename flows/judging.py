"""`tunesmith gate`: the gate on any two prediction tables, without Prefect, MLflow or a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from finetuning.config import Gate
from finetuning.digests import digest_value
from finetuning.errors import Fault, InputError, RefusedError
from finetuning.gate import judge
from finetuning.measures import Measure, find_measure
from finetuning.pipelines import describe_faults
from finetuning.verdicts import Evidence

OPTIONS = {
    "minimum": "--minimum",
    "against_champion": "--policy",
    "margin": "--margin",
    "alpha": "--alpha",
    "slices.max_drop": "--max-slice-drop",
}


def judge_tables(
    candidate: Path,
    champion: Path,
    metric: str,
    lower_is_better: bool,
    judged: int,
    rules: Mapping[str, Any],
) -> dict[str, Any]:
    """Judge a candidate's prediction table against a champion's on the same rows.

    Args:
        candidate: csv, tsv, jsonl or parquet with id, and label and prediction where the metric
            reads them; other columns as `finetuning.predictions` says.
        champion: Likewise, with the same ids and labels.
        metric: Name of a measure, or a numeric column whose mean it is.
        lower_is_better: For such a column.
        judged: Challengers that these rows have judged before.
        rules: Keys of the pipeline file's `gate` by their names there.

    Raises:
        InputError: A table or an option is wrong; nothing is decided.
        RefusedError: The gate refuses, with the whole verdict.
    """
    from finetuning.predictions import choose_slices, read_pair

    gate = _read_rules(rules)
    measure = find_measure(metric, lower_is_better or None)
    first, second = read_pair(candidate, champion, measure)
    _check_measure(measure, first.columns.tolist(), second.columns.tolist())
    named = [name for name in ("id", "label") if name in first.columns]
    rows = sorted(first[named].fillna("").to_numpy().tolist())
    evidence = Evidence(
        first,
        second,
        choose_slices(first, second, measure),
        judged,
        about={
            "rows_digest": digest_value(rows),
            "candidate": str(candidate),
            "champion": str(champion),
        },
    )
    verdict = judge(evidence, gate, measure).to_json()
    if not verdict["promote"]:
        raise RefusedError("; ".join(verdict["reasons"]), {"status": "refused", **verdict})
    return {"status": "passed", **verdict}


def _read_rules(rules: Mapping[str, Any]) -> Gate:
    try:
        return Gate.model_validate(dict(rules))
    except ValidationError as error:
        faults = [
            Fault(OPTIONS.get(fault.key, fault.key), fault.found, fault.remedy)
            for fault in describe_faults(error)
        ]
        raise InputError(faults) from None


def _check_measure(measure: Measure, *tables: list[str]) -> None:
    """A column that neither table has is a wrong name, not a metric that was not measured."""
    absent = [name for name in measure.columns if not any(name in table for table in tables)]
    if absent:
        found = f"{measure.name!r}, and no table has the column {absent[0]!r}"
        known = "accuracy, macro_f1, expected_calibration_error, perplexity"
        columns = ", ".join(tables[0])
        remedy = f"Known are {known}, and any numeric column; the candidate has {columns}."
        raise InputError([Fault("--metric", found, remedy)])


def describe_verdict(verdict: dict[str, Any]) -> str:
    """The decision, the reasons and the slices, for people."""
    head = "passed" if verdict["promote"] else "refused"
    lines = [f"{head}: {verdict['candidate']} against {verdict['champion']}"]
    lines += [f"  - {reason}" for reason in verdict["reasons"]]
    for one in verdict["slices"]:
        low, high = one["interval"]
        judged = "" if one["judged"] else "  (too few rows to judge)"
        lines.append(
            f"  {one['column'] + ' = ' + one['value']:<32} {one['rows']:>6} rows  "
            f"{one['difference']:+.4f} ({low:+.4f} to {high:+.4f}){judged}"
        )
    if verdict["not_slices"]:
        passed_over = "; ".join(f"{name}: {why}" for name, why in verdict["not_slices"].items())
        lines.append(f"  not slices: {passed_over}")
    return "\n".join(lines)
