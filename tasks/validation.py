"""Labelled rows held against what is expected of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from finetuning.errors import Fault, InputError, TunesmithError
from finetuning.expectations import (
    LEFT_OUT,
    SOURCE_COLUMNS,
    SPLITS,
    ExpectationSpec,
    existence_expectations,
    readable,
)
from finetuning.problem import find_problem
from finetuning.snapshots import list_columns
from tasks.suites import Result, list_named, open_great_expectations, run_suites
from tasks.validation_report import ValidationReport, make_outcome

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Data, Expectation
    from finetuning.problem import Checking

OURS = (
    *("batch_id", "catch_exceptions", "description", "id", "meta", "notes"),
    *("rendered_content", "result_format", "severity", "windows"),
)  # arguments that every class has and that are set here
# Every value comes as text; for these classes a column of numbers is read as such.
NUMERIC = frozenset(
    f"ExpectColumn{name}"
    for name in (
        *("MaxToBeBetween", "MeanToBeBetween", "MedianToBeBetween", "MinToBeBetween"),
        *("QuantileValuesToBeBetween", "StdevToBeBetween", "SumToBeBetween"),
        *("ValueZScoresToBeLessThan", "ValuesToBeBetween", "ValuesToNotBeOutliers"),
        *("ValuesToBeIncreasing", "ValuesToBeDecreasing", "PairValuesAToBeGreaterThanB"),
    )
) | {"ExpectMulticolumnSumToEqual"}


def validate_rows(
    rows: pandas.DataFrame, data: Data, kind: str = "text-classification"
) -> ValidationReport:
    """Hold rows against the built-in expectations of their problem and the user's own.

    Args:
        rows: One a source row: file, row, split, key, then the user's columns as text or null.
        data: The pipeline file's data section.
        kind: The pipeline file's problem.

    Raises:
        InputError: An expectation of the user's own does not fit Great Expectations or the rows.
        TunesmithError: A built-in expectation could not be computed.
    """
    rows = readable(rows).reset_index(drop=True)
    rows = rows.assign(key=number_keys(rows["key"]), file=rows["file"].astype("category"))
    own_columns = [name for name in rows.columns if name not in SOURCE_COLUMNS]
    required = [name for _, name in list_columns(data.columns, kind)]
    checking = find_problem(kind).checking
    specs = existence_expectations(required)
    built_in = len(specs)
    if set(required) <= set(own_columns):
        if faults := check_expectations(data, own_columns):
            raise InputError(faults)
        specs = (*specs, *checking.list_expectations(data))
        built_in = len(specs)
        specs = (*specs, *_own_expectations(data))
    frames = _frames(rows, data, checking, specs, own_columns)
    results, version = run_suites(specs, frames)
    _raise_if_broken(specs, results, built_in)
    outcomes = tuple(
        make_outcome(spec, result, rows, frames[spec.scope])
        for spec, result in zip(specs, results, strict=True)
    )
    counts = rows["split"].value_counts()
    splits = {split: int(counts.get(split, 0)) for split in (*SPLITS, LEFT_OUT)}
    return ValidationReport(splits, outcomes, version)


def number_keys(keys: pandas.Series[Any]) -> pandas.Series[Any]:
    """Numbers in place of texts, one as another; a missing one stays missing."""
    import pandas

    if pandas.api.types.is_numeric_dtype(keys):
        return keys
    numbers = pandas.Series(pandas.factorize(keys)[0])
    return numbers.where(numbers >= 0)


def check_expectations(data: Data, columns: Sequence[str]) -> list[Fault]:
    """What is wrong with the user's own expectations: class names, arguments, columns."""
    if not data.expectations:
        return []
    with open_great_expectations() as gx:
        classes = {
            name: item
            for name, item in vars(gx.expectations).items()
            if name.startswith("Expect") and name != "Expectation" and isinstance(item, type)
        }
        return [
            fault
            for position, expectation in enumerate(data.expectations)
            for fault in _check(f"data.expectations[{position}]", expectation, classes, columns)
        ]


def _check(
    key: str, expectation: Expectation, classes: dict[str, Any], columns: Sequence[str]
) -> Iterator[Fault]:
    kind, arguments = classes.get(expectation.expect), expectation.arguments
    if kind is None:
        near = _near(expectation.expect, classes) or "See the Great Expectations gallery."
        yield Fault(f"{key}.expect", repr(expectation.expect), f"There is no such class. {near}")
        return
    for argument, column in list_named(arguments):
        if column not in columns:
            near = _near(column, columns) or f"The columns are {', '.join(columns)}."
            yield Fault(f"{key}.{argument}", repr(column), f"There is no such column. {near}")
    taken = sorted(set(OURS) & set(arguments))
    for argument in taken:
        yield Fault(f"{key}.{argument}", repr(arguments[argument]), "Leave this argument out.")
    try:
        kind(**{name: value for name, value in arguments.items() if name not in taken})
    except (ValueError, TypeError) as error:
        allowed = set(kind.__fields__) - set(OURS)
        for place, message in _problems(key, error).items():
            argument = place.removeprefix(key).removeprefix(".")
            near = "" if argument in kind.__fields__ else _near(argument, allowed)
            found = repr(arguments[argument]) if argument in arguments else "nothing"
            yield Fault(place, found, f"{message.capitalize()}. {near}".strip())


def _problems(key: str, error: Exception) -> dict[str, str]:
    """What is wrong with each argument: the first thing, without pydantic's other attempts."""
    if not hasattr(error, "errors"):
        return {key: str(error)}
    problems: dict[str, str] = {}
    for item in error.errors():
        argument = str(item["loc"][0])
        problems.setdefault(key if argument == "__root__" else f"{key}.{argument}", item["msg"])
    return problems


def _near(name: str, names: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(names), n=3)
    return f"Did you mean {' or '.join(near)}?" if near else ""


def _own_expectations(data: Data) -> list[ExpectationSpec]:
    specs = []
    for position, own in enumerate(data.expectations):
        columns = tuple(column for _, column in list_named(own.arguments))
        about = f" on {', '.join(columns)}" if columns else ""
        specs.append(
            ExpectationSpec(
                name=f"data.expectations[{position}]: {own.expect}{about}",
                expect=own.expect,
                arguments=own.arguments,
                severity=own.severity,
                remedy="Correct these rows, or this expectation in the pipeline file.",
                column=columns[0] if len(columns) == 1 else "",
                shown=columns,
                scope="numbers" if own.expect in NUMERIC else "own",
            )
        )
    return specs


def _frames(
    rows: pandas.DataFrame,
    data: Data,
    checking: Checking,
    specs: Sequence[ExpectationSpec],
    own: list[str],
) -> dict[str, pandas.DataFrame]:
    """The table of each scope that an expectation is held against, without idle columns."""
    import pandas

    present = rows["split"] != LEFT_OUT
    kept = rows if present.all() else rows[present]
    scopes = {spec.scope for spec in specs}
    frames = {"all": rows, "own": kept[own]}
    if "kept" in scopes:
        frames["kept"] = checking.prepare(kept, data.columns)
    if "numbers" in scopes:
        numbers = kept[own].copy()
        for name in own:
            with suppress(ValueError, TypeError):
                numbers[name] = pandas.to_numeric(numbers[name])
        frames["numbers"] = numbers
    return frames


def _raise_if_broken(
    specs: Sequence[ExpectationSpec], results: list[Result], built_in: int
) -> None:
    faults = []
    for position, (spec, result) in enumerate(zip(specs, results, strict=True)):
        if (message := result.broken) is None:
            continue
        if position < built_in:
            raise TunesmithError(f"The expectation '{spec.name}' could not be computed: {message}")
        remedy = f"It could not be computed on this data: {message}"
        faults.append(Fault(f"data.expectations[{position - built_in}]", spec.expect, remedy))
    if faults:
        raise InputError(faults)
