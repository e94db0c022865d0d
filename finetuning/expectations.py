"""What is expected of labelled text before anything is trained on it, as data.

The table is prepared once: columns named `tunesmith.…` hold what an expectation cannot see in one
row alone, such as whether a text carries two labels. Every built-in expectation is then a class of
Great Expectations by its name, with arguments, beside what a person should do where it fails.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas

    from finetuning.config import Columns, Data, Severity

SPLITS = ("train", "validation", "test")
LEFT_OUT = "left-out"
SOURCE_COLUMNS = ("file", "row", "split", "key")  # what the snapshot adds to the user's columns

TRAIN_LABEL = "tunesmith.train label"
CONTRADICTED = "tunesmith.contradicted"

BLANK_SHARE = 0.01  # rows without a text that are still only a warning
LONG_SHARE = 0.01  # texts over the longest length that are still only a warning
CONTRADICTED_SHARE = 0.10  # rows whose text has two labels that are still only a warning
SHORTEST_TEXT = 2  # characters
LONGEST_TEXT = 100_000  # characters
FEWEST_CLASSES = 2
FEWEST_ROWS = 2  # of a class in train: one row can be learned by heart, never checked
FEW_ROWS = 10  # of a class in train: below this its score is mostly chance
LARGEST_IMBALANCE = 20  # times that the largest class may be the smallest

# Characters are written out, not as regex escapes: pandas hands patterns to RE2, which has no \u.
CONTROL = "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"  # tab, line feed and carriage return are text
_CONTINUATION = (
    "[\u0080-\u00bf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d"
    "\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
)
# UTF-8 that was read as Windows-1252 or Latin-1: accents, quotes and dashes, byte order marks,
# emoji, Cyrillic (two in a row: one alone may be an Icelandic capital).
MOJIBAKE = (
    f"[\u00c2\u00c3]{_CONTINUATION}|\u00e2(?:\u20ac|\u0080)|\u00ef\u00bb\u00bf|\u00f0(?:\u0178|\u009f)"
    f"|(?:[\u00d0\u00d1]{_CONTINUATION}){{2}}"
)
DAMAGE = f"\ufffd|{CONTROL}|{MOJIBAKE}"
HTML_ESCAPE = "&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});"
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


def required_columns(columns: Columns) -> tuple[str, ...]:
    """The columns without which nothing else can be checked."""
    return (*text_columns(columns), columns.label)


def text_columns(columns: Columns) -> tuple[str, ...]:
    """The column or the two columns that hold text."""
    return tuple(name for name in (columns.text, columns.text_pair) if name is not None)


def readable(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with U+FFFD for half a surrogate pair, which cannot be written as UTF-8."""
    mended = {}
    for name in map(str, rows.columns):
        wide = (text for text in rows[name] if isinstance(text, str) and not text.isascii())
        if any(map(_SURROGATE.search, wide)):
            mended[name] = rows[name].replace(_SURROGATE, "\ufffd", regex=True)
    return rows.assign(**mended)


def prepare(rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Add the helper columns that the built-in expectations look at; `rows` stays as it was.

    The rows have `split` and `key` beside the user's columns, and none of them is left out. A
    helper column is null in every row that it has nothing to say about.
    """
    frame = rows.copy()
    for name in text_columns(columns):
        frame[f"tunesmith.filled {name}"] = _filled(frame[name])
    label = frame["tunesmith.label"] = _filled(frame[columns.label])
    text = frame[columns.text].fillna("")
    frame[TRAIN_LABEL] = label.where(frame["split"] == "train", None)
    known = frame["key"].notna() & label.notna()
    frame["tunesmith.repeated"] = text.where(
        known & frame.duplicated(["split", "key", "tunesmith.label"]), None
    )
    frame[CONTRADICTED] = _contradicted(frame, text)
    _add_class_columns(frame)
    return frame


def _filled(values: pandas.Series[Any]) -> pandas.Series[Any]:
    return values.where(values.str.strip() != "", None)


def _contradicted(frame: pandas.DataFrame, text: pandas.Series[Any]) -> pandas.Series[Any]:
    """In each row whose text has several labels: those labels, then the text."""
    import pandas

    pairs = frame[["key", "tunesmith.label"]].dropna().drop_duplicates()
    pairs = pairs[pairs["key"].duplicated(keep=False)].sort_values("tunesmith.label")
    labels = pairs.groupby("key")["tunesmith.label"].agg(" | ".join)
    found = frame["key"].map(labels).dropna().astype(object)
    result = pandas.Series(None, index=frame.index, dtype=object)
    result[found.index] = "[" + found + "] " + text[found.index]
    return result


def _add_class_columns(frame: pandas.DataFrame) -> None:
    """What is to be said about a row because of its class."""
    label, split, trained = frame["tunesmith.label"], frame["split"], frame[TRAIN_LABEL]
    counts = trained.value_counts()
    present = label.groupby(split).agg(set)
    elsewhere = split.isin(["validation", "test"]) & label.notna()
    frame["tunesmith.unknown label"] = label.where(elsewhere & ~label.isin(counts.index), None)
    missing = {
        name: f"{name}: none in {' and '.join(absent)}"
        for name in counts.index
        if (absent := [part for part in SPLITS if name not in present.get(part, ())])
    }
    frame["tunesmith.missing class"] = label.map(missing).astype(object)
    frame["tunesmith.class rows"] = trained.map(counts).astype(float)
    frame["tunesmith.imbalance"] = counts.max() / frame["tunesmith.class rows"]


def text_classification_expectations(config: Data) -> tuple[ExpectationSpec, ...]:
    """The built-in expectations of text classification, for the pipeline file's data section."""
    text, label = config.columns.text, config.columns.label
    groups = {name: _text_expectations(name) for name in text_columns(config.columns)}
    groups[label] = [*_label_expectations(label, config.labels), *_class_expectations()]
    named = [replace(spec, column=name) for name, specs in groups.items() for spec in specs]
    rows = [replace(spec, column=text) for spec in _row_expectations(text)]
    return (*existence_expectations(config.columns), *named, *rows)


def existence_expectations(columns: Columns) -> tuple[ExpectationSpec, ...]:
    """That the required columns are there: held alone where one is not."""
    remedy = "Name the right column in data.columns, or add it to every table."
    specs = [
        _critical(f"there is a column {name}", remedy, ("ExpectColumnToExist", {"column": name}))
        for name in required_columns(columns)
    ]
    return tuple(replace(spec, column=spec.arguments["column"], scope="own") for spec in specs)


def _critical(name: str, remedy: str, check: Check) -> ExpectationSpec:
    return ExpectationSpec(name, *check, severity="critical", remedy=remedy)


def _warning(name: str, remedy: str, check: Check) -> ExpectationSpec:
    return replace(_critical(name, remedy, check), severity="warning")


def _graded(share: float, name: str, remedy: str, check: Check) -> list[ExpectationSpec]:
    """Critical where more than a share of the rows fail, a warning where any does."""
    expect, arguments = check
    tolerant = (expect, {**arguments, "mostly": 1 - share})
    bound = f"{name}, in at least {1 - share:.0%} of the rows"
    return [_critical(bound, remedy, tolerant), _warning(name, remedy, check)]


def _text_expectations(column: str) -> list[ExpectationSpec]:
    filled = {"column": f"tunesmith.filled {column}"}
    lengths, no_match = "ExpectColumnValueLengthsToBeBetween", "ExpectColumnValuesToNotMatchRegex"
    blank, fill = f"{column} is neither null nor blank", "Delete these rows, or fill in their text."
    return [
        *_graded(BLANK_SHARE, blank, fill, ("ExpectColumnValuesToNotBeNull", filled)),
        *_graded(
            LONG_SHARE,
            f"{column} has at most {LONGEST_TEXT:,} characters",
            "Split or shorten these texts; an unclosed quote may have swallowed rows.",
            (lengths, {**filled, "max_value": LONGEST_TEXT}),
        ),
        _warning(
            f"{column} has at least {SHORTEST_TEXT} characters",
            "Check whether so short a text says its label; delete these rows if not.",
            (lengths, {**filled, "min_value": SHORTEST_TEXT}),
        ),
        _warning(
            f"{column} has no broken encoding",
            "Export the table again as UTF-8, and take control characters out.",
            (no_match, {"column": column, "regex": DAMAGE}),
        ),
        _warning(
            f"{column} has no HTML escapes",
            "Unescape the text where it is exported, as Python's html.unescape does.",
            (no_match, {"column": column, "regex": HTML_ESCAPE}),
        ),
    ]


def _label_expectations(column: str, labels: Sequence[str] | None) -> list[ExpectationSpec]:
    specs = [
        _critical(
            f"{column} is neither null nor blank",
            "Give every row its label, or delete the row.",
            ("ExpectColumnValuesToNotBeNull", {"column": "tunesmith.label"}),
        ),
        _critical(
            f"every {column} of validation and test is known from train",
            "Correct the spelling of these labels, or add rows of theirs to train.",
            ("ExpectColumnValuesToBeNull", {"column": "tunesmith.unknown label"}),
        ),
    ]
    if labels is None:
        return specs
    allowed = {"value_set": list(labels)}
    return [
        *specs,
        _critical(
            f"{column} is one of data.labels",
            f"Correct these labels, or add them to data.labels ({', '.join(labels[:10])}).",
            ("ExpectColumnValuesToBeInSet", {"column": "tunesmith.label", **allowed}),
        ),
        _critical(
            "train has every one of data.labels",
            "Add rows of the missing labels to train, or take them out of data.labels.",
            ("ExpectColumnDistinctValuesToContainSet", {"column": TRAIN_LABEL, **allowed}),
        ),
    ]


def _class_expectations() -> list[ExpectationSpec]:
    between, unique = "ExpectColumnValuesToBeBetween", "ExpectColumnUniqueValueCountToBeBetween"
    rows, missing = {"column": "tunesmith.class rows"}, "tunesmith.missing class"
    more = "Label more rows of these classes, or merge them with a class that is near."
    every = _critical(
        "every class of train stands in validation and test",
        "Add rows of these classes: each split must be able to show what was learned.",
        ("ExpectColumnValuesToBeNull", {"column": missing}),
    )
    fewest = f"every class has at least {FEWEST_ROWS} rows in train"
    few = f"every class has at least {FEW_ROWS} rows in train"
    return [
        _critical(
            f"train has at least {FEWEST_CLASSES} classes",
            "Check data.columns.label: one class leaves nothing to learn.",
            (unique, {"column": TRAIN_LABEL, "min_value": FEWEST_CLASSES}),
        ),
        replace(every, shown=(missing,)),
        _critical(fewest, more, (between, {**rows, "min_value": FEWEST_ROWS})),
        _warning(few, more, (between, {**rows, "min_value": FEW_ROWS})),
        _warning(
            f"no class of train is more than {LARGEST_IMBALANCE} times smaller than the largest",
            "Label more rows of these classes, and set gate.metric to macro_f1.",
            (between, {"column": "tunesmith.imbalance", "max_value": LARGEST_IMBALANCE}),
        ),
    ]


def _row_expectations(column: str) -> list[ExpectationSpec]:
    contradicted = _graded(
        CONTRADICTED_SHARE,
        f"no {column} has two labels",
        "Decide on one label for each of these texts, or delete its rows.",
        ("ExpectColumnValuesToBeNull", {"column": CONTRADICTED}),
    )
    leak = _warning(
        f"no {column} of train stands in validation or test too",
        "These rows were left out of training; delete them where they do not belong.",
        ("ExpectColumnValuesToNotBeInSet", {"column": "split", "value_set": [LEFT_OUT]}),
    )
    return [
        _warning(
            f"no {column} stands twice with the same label in a split",
            "Delete the repeated rows: they weigh more than others, and scores count them twice.",
            ("ExpectColumnValuesToBeNull", {"column": "tunesmith.repeated"}),
        ),
        *(replace(spec, shown=(CONTRADICTED,)) for spec in contradicted),
        replace(leak, scope="all"),
    ]
