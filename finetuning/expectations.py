"""What is expected of rows before anything is trained on them, as data.

Every built-in expectation is a class of Great Expectations by its name, with arguments, beside what
a person should do where it fails. Which ones there are is the problem's, see `problem.Checking`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Severity

SPLITS = ("train", "validation", "test")
LEFT_OUT = "left-out"
SOURCE_COLUMNS = ("file", "row", "split", "key")  # what the snapshot adds to the user's columns

ROWS_AT_ONCE = 250_000  # whose texts are copied to look at them
_SURROGATE = re.compile("[\ud800-\udfff]")

# What an expectation is held against: `all` rows; those `kept`, with the helper columns; the user's
# `own` columns of those kept; the same as `numbers`, where a column holds nothing else.
Scope = Literal["all", "kept", "own", "numbers"]
Check = tuple[str, dict[str, Any]]  # a class of Great Expectations, and what goes to it


@dataclass(frozen=True)
class ExpectationSpec:
    """One expectation as data: what is expected, how much it matters, and what helps.

    `expect` names a Great Expectations class, and `arguments` go to it. `column` is the user's
    column that it is about (empty: several or none); the examples of rows that fail show `shown`,
    or else that column. `scope` says which table it is held against.
    """

    name: str
    expect: str
    arguments: dict[str, Any]
    severity: Severity
    remedy: str
    column: str = ""
    shown: tuple[str, ...] = ()
    scope: Scope = "kept"


def readable(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with U+FFFD for half a surrogate pair, which cannot be written as UTF-8."""
    mended = {}
    # What pyarrow keeps holds no half of a pair.
    loose = (str(name) for name, kind in rows.dtypes.items() if kind == "object")
    for name in loose:
        wide = (text for text in rows[name] if isinstance(text, str) and not text.isascii())
        if any(map(_SURROGATE.search, wide)):
            mended[name] = rows[name].replace(_SURROGATE, "\ufffd", regex=True)
    return rows.assign(**mended)


def existence_expectations(required: Iterable[str]) -> tuple[ExpectationSpec, ...]:
    """That the required columns are there: held alone where one is not."""
    remedy = "Name the right column in data.columns, or add it to every table."
    specs = [
        critical(f"there is a column {name}", remedy, ("ExpectColumnToExist", {"column": name}))
        for name in required
    ]
    return tuple(replace(spec, column=spec.arguments["column"], scope="own") for spec in specs)


def critical(name: str, remedy: str, check: Check) -> ExpectationSpec:
    """An expectation that stops the run where it fails."""
    return ExpectationSpec(name, *check, severity="critical", remedy=remedy)


def warning(name: str, remedy: str, check: Check) -> ExpectationSpec:
    """An expectation that is only reported where it fails."""
    return replace(critical(name, remedy, check), severity="warning")


def graded(share: float, name: str, remedy: str, check: Check) -> list[ExpectationSpec]:
    """Critical where more than a share of the rows fail, a warning where any does."""
    expect, arguments = check
    tolerant = (expect, {**arguments, "mostly": 1 - share})
    bound = f"{name}, in at least {1 - share:.0%} of the rows"
    return [critical(bound, remedy, tolerant), warning(name, remedy, check)]


def filled(values: pandas.Series[Any]) -> pandas.Series[Any]:
    """The values, null where they are blank."""
    blank = [
        (values.iloc[start : start + ROWS_AT_ONCE].str.strip() == "").to_numpy(bool)
        for start in range(0, len(values), ROWS_AT_ONCE)
    ]
    found = np.concatenate([np.empty(0, bool), *blank])
    return values.where(~found, None) if found.any() else values
