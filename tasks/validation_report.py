"""What came of holding rows against their expectations: the report, its page, and its words."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

import finetuning
from finetuning.errors import ValidationError

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Severity
    from finetuning.expectations import ExpectationSpec

RESULTS = "results.json"
EXAMPLES = 5  # rows shown of each expectation that fails
LONGEST_EXAMPLE = 200  # characters


@dataclass(frozen=True)
class Example:
    """One row that failed; the row is counted from 1, without the header."""

    file: str
    row: int
    value: str | None


@dataclass(frozen=True)
class Outcome:
    """What came of one expectation; the count is null where it is not about single rows."""

    name: str
    expect: str
    severity: Severity
    success: bool
    column: str
    unexpected_count: int | None
    unexpected_percent: float | None
    observed: str | None
    examples: tuple[Example, ...]
    remedy: str

    @property
    def finding(self) -> str:
        """What was found, in words."""
        if self.unexpected_count is None:
            return f"Found: {self.observed}." if self.observed else "Not so."
        rows = "row" if self.unexpected_count == 1 else "rows"
        share = "" if self.unexpected_percent is None else f" ({self.unexpected_percent:.2f} %)"
        return f"{self.unexpected_count:,} {rows}{share}."


@dataclass(frozen=True)
class ValidationReport:
    """What came of all expectations, and how many rows each split has."""

    rows: dict[str, int]
    outcomes: tuple[Outcome, ...]
    great_expectations_version: str

    def failed(self, severity: Severity) -> list[Outcome]:
        """The expectations of that severity which were not met."""
        return [item for item in self.outcomes if not item.success and item.severity == severity]

    @property
    def critical_failures(self) -> int:
        """How many critical expectations were not met."""
        return len(self.failed("critical"))

    @property
    def warnings(self) -> int:
        """How many expectations that only warn were not met."""
        return len(self.failed("warning"))

    @property
    def success(self) -> bool:
        """Whether training may go on: no critical expectation failed."""
        return not self.critical_failures

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "success": self.success,
            "critical_failures": self.critical_failures,
            "warnings": self.warnings,
            "rows": self.rows,
            "expectations": [asdict(outcome) for outcome in self.outcomes],
            "great_expectations_version": self.great_expectations_version,
        }


def printable(text: str) -> str:
    """The text with everything escaped that is not seen, or that would steer a terminal."""
    return "".join(
        character if character.isprintable() else repr(character)[1:-1] for character in str(text)
    )


def write_report(report: ValidationReport, folder: Path) -> None:
    """Write the report into a folder: results.json, and index.html for people."""
    folder.mkdir(parents=True, exist_ok=True)
    results = json.dumps(report.to_json(), indent=2, allow_nan=False)
    (folder / RESULTS).write_text(results + "\n", encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(finetuning.__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["printable"] = printable
    page = environment.get_template("validation.html").render(
        report=report,
        failed=[
            ("Stops the run", "bad", report.failed("critical")),
            ("Worth a look", "warn", report.failed("warning")),
        ],
        passed=[outcome for outcome in report.outcomes if outcome.success],
    )
    (folder / "index.html").write_text(page, encoding="utf-8")


def raise_if_invalid(report: ValidationReport) -> None:
    """Stop where a critical expectation failed.

    Raises:
        ValidationError: With each failed critical expectation, its first rows and its remedy.
    """
    failed = report.failed("critical")
    if not failed:
        return
    lines = [f"The data failed {len(failed)} critical expectation{'s' * (len(failed) > 1)}:"]
    for outcome in failed:
        lines.append(f"- {printable(outcome.name)}: {printable(outcome.finding)}")
        for example in outcome.examples:
            value = "null" if example.value is None else f"'{printable(example.value)}'"
            lines.append(f"    {printable(example.file)} row {example.row}: {value}")
        lines.append(f"  {printable(outcome.remedy)}")
    raise ValidationError("\n".join(lines))


def make_outcome(
    spec: ExpectationSpec, result: Any, rows: pandas.DataFrame, frame: pandas.DataFrame
) -> Outcome:
    """What came of one expectation, from Great Expectations' result of it."""
    found = result.result
    indices = found.get("unexpected_index_list")
    by_row = indices is not None
    percent = found.get("unexpected_percent") if by_row else None
    return Outcome(
        name=spec.name,
        expect=spec.expect,
        severity=spec.severity,
        success=bool(result.success),
        column=spec.column,
        unexpected_count=int(found["unexpected_count"]) if by_row else None,
        unexpected_percent=None if percent is None else round(float(percent), 4),
        observed=None if by_row else _observed(found),
        examples=_examples(rows, frame, indices, spec.shown or (spec.column,)) if indices else (),
        remedy=spec.remedy,
    )


def _observed(found: dict[str, Any]) -> str | None:
    for name, word in (
        ("observed_value", ""),
        ("partial_missing_list", "missing "),
        ("partial_unexpected_list", "unexpected "),
    ):
        value = found.get(name)
        if value is not None and value != []:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            return _shorten(word + text)
    return None


def _examples(
    rows: pandas.DataFrame, frame: pandas.DataFrame, indices: list[int], shown: Sequence[str]
) -> tuple[Example, ...]:
    """The first rows that failed, those with a value not seen before in front."""
    failed = frame.loc[indices, list(shown)]
    seen = failed.duplicated()
    first = [*failed.index[~seen][:EXAMPLES], *failed.index[seen][:EXAMPLES]][:EXAMPLES]
    sources = rows.loc[first, ["file", "row"]].itertuples(index=False)
    return tuple(
        Example(str(file), int(row), _value(failed.loc[index]))
        for index, (file, row) in zip(first, sources, strict=True)
    )


def _value(cells: pandas.Series[Any]) -> str | None:
    if len(cells) == 1:
        return None if cells.isna().iloc[0] else _shorten(str(cells.iloc[0]))
    return _shorten(", ".join(f"{name}={value}" for name, value in cells.items()))


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else text[:LONGEST_EXAMPLE] + "…"
