"""What is expected of labelled texts before anything is trained on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finetuning.class_expectations import label_expectations, prepare_classes, row_expectations
from finetuning.expectations import ExpectationSpec, filled, graded, warning

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Data

BLANK_SHARE = 0.01  # rows without a text that are still only a warning
LONG_SHARE = 0.01  # texts over the longest length that are still only a warning
SHORTEST_TEXT = 2  # characters
LONGEST_TEXT = 100_000  # characters

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


def prepare(rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Add the helper columns that the built-in expectations look at; `rows` stays as it was."""
    frame = prepare_classes(rows, columns.text, columns.label)
    for name in _text_columns(columns):
        frame[f"tunesmith.filled {name}"] = filled(frame[name])
    return frame


def list_expectations(data: Data) -> tuple[ExpectationSpec, ...]:
    """The built-in expectations of labelled texts, for the pipeline file's data section."""
    columns = data.columns
    return (
        *(
            replace(spec, column=name)
            for name in _text_columns(columns)
            for spec in _text_expectations(name)
        ),
        *label_expectations(columns.label, data.labels),
        *row_expectations(columns.text, "texts"),
    )


def _text_columns(columns: Columns) -> tuple[str, ...]:
    return tuple(name for name in (columns.text, columns.text_pair) if name is not None)


def _text_expectations(column: str) -> list[ExpectationSpec]:
    filled = {"column": f"tunesmith.filled {column}"}
    lengths, no_match = "ExpectColumnValueLengthsToBeBetween", "ExpectColumnValuesToNotMatchRegex"
    blank, fill = f"{column} is neither null nor blank", "Delete these rows, or fill in their text."
    return [
        *graded(BLANK_SHARE, blank, fill, ("ExpectColumnValuesToNotBeNull", filled)),
        *graded(
            LONG_SHARE,
            f"{column} has at most {LONGEST_TEXT:,} characters",
            "Split or shorten these texts; an unclosed quote may have swallowed rows.",
            (lengths, {**filled, "max_value": LONGEST_TEXT}),
        ),
        warning(
            f"{column} has at least {SHORTEST_TEXT} characters",
            "Check whether so short a text says its label; delete these rows if not.",
            (lengths, {**filled, "min_value": SHORTEST_TEXT}),
        ),
        warning(
            f"{column} has no broken encoding",
            "Export the table again as UTF-8, and take control characters out.",
            (no_match, {"column": column, "regex": DAMAGE}),
        ),
        warning(
            f"{column} has no HTML escapes",
            "Unescape the text where it is exported, as Python's html.unescape does.",
            (no_match, {"column": column, "regex": HTML_ESCAPE}),
        ),
    ]
