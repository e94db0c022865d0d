"""Great Expectations: suites of expectations, held against large tables in parts.

It takes seconds to import, so it is imported where it is used.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetuning.expectations import ExpectationSpec
from tasks.validation_report import EXAMPLES

if TYPE_CHECKING:
    import pandas

RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "partial_unexpected_count": EXAMPLES,
    "return_unexpected_index_query": False,
}
COLUMN_ARGUMENTS = ("column", "column_A", "column_B", "column_list")
NAMES_ALONE = "ExpectColumnToExist"  # looks at no row
# These say of each row by itself whether it is as expected: what they find in parts adds up.
SINGLE_ROWS = frozenset(
    f"ExpectColumn{name}"
    for name in (
        *("ValuesToBeNull", "ValuesToNotBeNull", "ValuesToBeInSet", "ValuesToNotBeInSet"),
        *("ValuesToBeBetween", "ValueLengthsToBeBetween"),
        *("ValuesToMatchRegex", "ValuesToNotMatchRegex"),
    )
)
# These ask which values a column has, whatever their number.
DISTINCT = ("ExpectColumnUniqueValueCountToBeBetween", "ExpectColumnDistinctValuesToContainSet")
ROWS_AT_ONCE = 250_000
_ONE_AT_A_TIME = threading.Lock()  # Great Expectations knows one context in a process


@dataclass(frozen=True)
class Result:
    """What came of one expectation, in Great Expectations' own terms.

    broken: why it could not be computed, or None.
    """

    success: bool
    result: Mapping[str, Any]
    broken: str | None = None


@contextmanager
def open_great_expectations() -> Iterator[Any]:
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


def run_suites(
    specs: Sequence[ExpectationSpec], frames: Mapping[str, pandas.DataFrame]
) -> tuple[list[Result], str]:
    """Hold each expectation against the table of its scope.

    Great Expectations makes objects of Python of all that a table holds, so it is given no more
    than the columns that the built-in expectations name, and a large table in parts.

    Args:
        specs: The expectations.
        frames: The tables by scope.

    Returns:
        Each expectation's result, in order, and the version of Great Expectations.
    """
    found: dict[int, list[Result]] = {position: [] for position in range(len(specs))}
    with open_great_expectations() as gx:
        whole = _define_batch(gx)
        for scope, frame in frames.items():
            chosen = {place: spec for place, spec in enumerate(specs) if spec.scope == scope}
            for suite, part in _cut(chosen, frame, built_in=scope in ("all", "kept")):
                for position, result in _hold(gx, whole, suite, part):
                    found[position].append(result)
        return [_merge(specs[place], results) for place, results in found.items()], gx.__version__


def _define_batch(gx: Any) -> Any:
    """What makes a batch of any table; nothing is on disk."""
    from great_expectations.data_context.types import base

    # Else the documentation site would be a temporary folder.
    stores = base.InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
    configured = base.DataContextConfig(store_backend_defaults=stores, analytics_enabled=False)
    context = gx.get_context(mode="ephemeral", project_config=configured)
    context.variables.progress_bars = base.ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("whole")


Suite = Mapping[int, ExpectationSpec]


def _cut(
    suite: Suite, frame: pandas.DataFrame, built_in: bool
) -> Iterator[tuple[Suite, pandas.DataFrame]]:
    """Suites and the parts of a table that they are held against, one after the other."""
    groups: dict[str, dict[int, ExpectationSpec]] = {
        kind: {} for kind in ("names", "parts", "distinct", "whole")
    }
    for position, spec in suite.items():
        groups[_choose_group(spec.expect, built_in)][position] = spec
    yield groups["names"], frame.head(0)
    for kind, step in (("parts", ROWS_AT_ONCE), ("distinct", len(frame)), ("whole", len(frame))):
        if not groups[kind]:
            continue
        columns = list(frame.columns)
        if built_in:
            named = (list_named(spec.arguments) for spec in groups[kind].values())
            columns = list(dict.fromkeys(column for names in named for _, column in names))
        chosen = frame[columns]
        if kind == "distinct":
            chosen = chosen.drop_duplicates()
        for start in range(0, max(len(chosen), 1), max(step, 1)):
            yield groups[kind], chosen.iloc[start : start + max(step, 1)]


def _choose_group(expect: str, built_in: bool) -> str:
    if expect == NAMES_ALONE:
        return "names"
    if expect in SINGLE_ROWS:
        return "parts"
    return "distinct" if built_in and expect in DISTINCT else "whole"


def _hold(
    gx: Any, whole: Any, suite: Suite, frame: pandas.DataFrame
) -> Iterator[tuple[int, Result]]:
    if not suite:
        return
    made = gx.ExpectationSuite("rows")
    for position, spec in suite.items():
        kind = getattr(gx.expectations, spec.expect)
        # A suite drops equal expectations, unless their descriptions differ.
        known = {"severity": spec.severity, "description": str(position)}
        made.add_expectation(kind(**spec.arguments, **known))
    batch = whole.get_batch({"dataframe": frame})
    for one in batch.validate(made, result_format=RESULT_FORMAT).results:
        found = Result(bool(one.success), one.result, _find_exception(one.exception_info))
        yield int(one.expectation_config.description), found


def _merge(spec: ExpectationSpec, parts: Sequence[Result]) -> Result:
    """The result over a whole table, from those over its parts."""
    broken = next((part for part in parts if part.broken is not None), None)
    if broken is not None or len(parts) == 1:
        return broken or parts[0]

    def add(name: str) -> int:
        return sum(part.result.get(name) or 0 for part in parts)

    unexpected, considered = add("unexpected_count"), add("element_count") - add("missing_count")
    failed = [row for part in parts for row in part.result["unexpected_index_list"]]
    return Result(
        not considered or (considered - unexpected) / considered >= spec.arguments.get("mostly", 1),
        {
            "unexpected_count": unexpected,
            "unexpected_percent": unexpected / considered * 100 if considered else None,
            "unexpected_index_list": failed,
        },
    )


def _find_exception(info: Mapping[str, Any]) -> str | None:
    """The first exception's message; Great Expectations nests them by metric, or does not."""
    nested = [info] if "raised_exception" in info else list(info.values())
    raised = [item["exception_message"] for item in nested if item["raised_exception"]]
    return str(raised[0]) if raised else None


def list_named(arguments: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Each column that an expectation's arguments name, beside the argument that names it."""
    named = [(name, arguments[name]) for name in COLUMN_ARGUMENTS if name in arguments]
    listed = [(name, value if isinstance(value, list) else [value]) for name, value in named]
    return [(name, item) for name, items in listed for item in items if isinstance(item, str)]
