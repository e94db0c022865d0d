"""Labelled rows held against what is expected of them, with Great Expectations.

Great Expectations takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import difflib
import logging
import os
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
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
from tasks.validation_report import EXAMPLES, ValidationReport, make_outcome

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Data, Expectation
    from finetuning.problem import Checking

RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": EXAMPLES,
    "return_unexpected_index_query": False,
}
OURS = (
    *("batch_id", "catch_exceptions", "description", "id", "meta", "notes"),
    *("rendered_content", "result_format", "severity", "windows"),
)  # arguments that every class has and that are set here
COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
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
_ONE_AT_A_TIME = threading.Lock()  # Great Expectations knows one context in a process


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
    results, version = _run(specs, frames)
    _raise_if_broken(specs, results, built_in)
    outcomes = tuple(
        make_outcome(spec, result, rows, frames[spec.scope])
        for spec, result in zip(specs, results, strict=True)
    )
    counts = rows["split"].value_counts()
    splits = {split: int(counts.get(split, 0)) for split in (*SPLITS, LEFT_OUT)}
    return ValidationReport(splits, outcomes, version)


def check_expectations(data: Data, columns: Sequence[str]) -> list[Fault]:
    """What is wrong with the user's own expectations: class names, arguments, columns."""
    if not data.expectations:
        return []
    with _great_expectations() as gx:
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
    for argument, column in _columns_of(arguments):
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


def _columns_of(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """Each column that the arguments name, beside the argument that names it."""
    named = [(name, arguments[name]) for name in COLUMN_ARGUMENTS if name in arguments]
    listed = [(name, value if isinstance(value, list) else [value]) for name, value in named]
    return [(name, item) for name, items in listed for item in items if isinstance(item, str)]


def _own_expectations(data: Data) -> list[ExpectationSpec]:
    specs = []
    for position, own in enumerate(data.expectations):
        columns = tuple(column for _, column in _columns_of(own.arguments))
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
    """The table of each scope that an expectation is held against."""
    import pandas

    kept = rows[rows["split"] != LEFT_OUT]
    scopes = {spec.scope for spec in specs}
    if "kept" in scopes:
        kept = checking.prepare(kept, data.columns)
    frames = {"all": rows, "kept": kept, "own": kept[own]}
    if "numbers" in scopes:
        numbers = kept[own].copy()
        for name in own:
            with suppress(ValueError, TypeError):
                numbers[name] = pandas.to_numeric(numbers[name])
        frames["numbers"] = numbers
    return frames


@contextmanager
def _great_expectations() -> Iterator[Any]:
    """Great Expectations, silent and alone: no telemetry, progress bars, log lines or warnings."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    logger, nowhere = logging.getLogger("great_expectations"), logging.NullHandler()
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import great_expectations
        import great_expectations.expectations

        # Some of its modules set levels of their own, so nothing is handed on to any handler.
        propagates, logger.propagate = logger.propagate, False
        logger.addHandler(nowhere)
        try:
            yield great_expectations
        finally:
            logger.removeHandler(nowhere)
            logger.propagate = propagates


def _run(
    specs: Sequence[ExpectationSpec], frames: dict[str, pandas.DataFrame]
) -> tuple[list[Any], str]:
    """Each expectation's result, in order, and the version of Great Expectations."""
    results: dict[int, Any] = {}
    with _great_expectations() as gx:
        from great_expectations.data_context.types import base

        # Nothing on disk: the documentation site would be a temporary folder.
        stores = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
        configured = base.DataContextConfig(store_backend_defaults=stores, analytics_enabled=False)
        context = gx.get_context(mode="ephemeral", project_config=configured)
        context.variables.progress_bars = base.ProgressBarsConfig(globally=False)
        asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
        whole = asset.add_batch_definition_whole_dataframe("whole")
        for scope in dict.fromkeys(spec.scope for spec in specs):
            suite = gx.ExpectationSuite(scope)
            for position, spec in enumerate(specs):
                if spec.scope == scope:
                    kind = getattr(gx.expectations, spec.expect)
                    # A suite drops equal expectations, unless their descriptions differ.
                    known = {"severity": spec.severity, "description": str(position)}
                    suite.add_expectation(kind(**spec.arguments, **known))
            batch = whole.get_batch({"dataframe": frames[scope]})
            for result in batch.validate(suite, result_format=RESULT_FORMAT).results:
                results[int(result.expectation_config.description)] = result
        return [results[position] for position in range(len(specs))], str(gx.__version__)


def _raise_if_broken(specs: Sequence[ExpectationSpec], results: list[Any], built_in: int) -> None:
    faults = []
    for position, (spec, result) in enumerate(zip(specs, results, strict=True)):
        message = _exception(result.exception_info)
        if message is None:
            continue
        if position < built_in:
            raise TunesmithError(f"The expectation '{spec.name}' could not be computed: {message}")
        remedy = f"It could not be computed on this data: {message}"
        faults.append(Fault(f"data.expectations[{position - built_in}]", spec.expect, remedy))
    if faults:
        raise InputError(faults)


def _exception(info: dict[str, Any]) -> str | None:
    """The first exception's message; Great Expectations nests them by metric, or does not."""
    nested = [info] if "raised_exception" in info else list(info.values())
    raised = [item["exception_message"] for item in nested if item["raised_exception"]]
    return str(raised[0]) if raised else None
