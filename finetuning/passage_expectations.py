"""What is expected of texts that have no label, and of prompts with completions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finetuning.expectations import (
    LEFT_OUT,
    SPLITS,
    ExpectationSpec,
    critical,
    filled,
    graded,
    warning,
)
from finetuning.passages import name_input, name_scored
from finetuning.text_expectations import BLANK_SHARE, CONTROL, HTML_ESCAPE, LONG_SHARE, MOJIBAKE

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Data

LONGEST_TEXT = 1_000_000  # characters; a longer row is a file, and no split can part it
SHORTEST_TEXT = 2  # characters
FEWEST_ROWS = 2  # of a split: one row shows nothing of how much rows differ
FEW_ROWS = 30  # of test: below this an interval says little
REPEATED_SHARE = 0.10  # rows that stand twice in a split that are still only a warning
LOST = "\ufffd"  # what stands for a character that was lost
SPLIT_ROWS = "tunesmith.rows of split"
REPEATED = "tunesmith.repeated"


def prepare(rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Add the helper columns that the built-in expectations look at; `rows` stays as it was."""
    frame = rows.copy()
    for name in _read_columns(columns):
        frame[f"tunesmith.filled {name}"] = filled(frame[name])
    scored = f"tunesmith.filled {name_scored(columns)}"
    frame[REPEATED] = frame[scored].where(frame.duplicated(_identify(columns)), None)
    frame[SPLIT_ROWS] = frame["split"].map(frame["split"].value_counts()).astype(float)
    return frame


def _read_columns(columns: Columns) -> tuple[str, ...]:
    return tuple(dict.fromkeys((name_input(columns), name_scored(columns))))


def _identify(columns: Columns) -> list[str]:
    """The columns by which rows are the same: the key, and a prompt's completion."""
    return ["split", "key", *([] if columns.completion is None else [columns.completion])]


def list_expectations(data: Data) -> tuple[ExpectationSpec, ...]:
    """The built-in expectations, for the pipeline file's data section."""
    columns = data.columns
    return (
        *(
            replace(spec, column=name)
            for name in _read_columns(columns)
            for spec in _text_expectations(name)
        ),
        *(replace(spec, column=name_scored(columns)) for spec in _row_expectations(columns)),
    )


def _text_expectations(column: str) -> list[ExpectationSpec]:
    filled = {"column": f"tunesmith.filled {column}"}
    lengths, no_match = "ExpectColumnValueLengthsToBeBetween", "ExpectColumnValuesToNotMatchRegex"
    blank = f"{column} is neither null nor blank"
    return [
        *graded(
            BLANK_SHARE,
            blank,
            "Delete these rows, or fill in their text.",
            ("ExpectColumnValuesToNotBeNull", filled),
        ),
        *graded(
            LONG_SHARE,
            f"{column} has at most {LONGEST_TEXT:,} characters",
            "Cut these texts into rows; an unclosed quote may have swallowed rows.",
            (lengths, {**filled, "max_value": LONGEST_TEXT}),
        ),
        warning(
            f"{column} has at least {SHORTEST_TEXT} characters",
            "Delete rows that say nothing.",
            (lengths, {**filled, "min_value": SHORTEST_TEXT}),
        ),
        warning(
            f"{column} has no broken encoding",
            "Export the text again as UTF-8: the model would learn the damage.",
            (no_match, {"column": column, "regex": f"{LOST}|{MOJIBAKE}"}),
        ),
        warning(
            f"{column} has no control characters",
            "Take them out where the text is exported: the model would learn to write them.",
            (no_match, {"column": column, "regex": CONTROL}),
        ),
        warning(
            f"{column} has no HTML escapes",
            "Unescape the text where it is exported, as Python's html.unescape does.",
            (no_match, {"column": column, "regex": HTML_ESCAPE}),
        ),
    ]


def _row_expectations(columns: Columns) -> list[ExpectationSpec]:
    between = "ExpectColumnValuesToBeBetween"
    asked = name_input(columns)
    same = asked if columns.completion is None else f"{asked} with its {columns.completion}"
    leak = warning(
        f"no {asked} of train stands in validation or test too",
        "These rows were left out of training; delete them where they do not belong.",
        ("ExpectColumnValuesToNotBeInSet", {"column": "split", "value_set": [LEFT_OUT]}),
    )
    return [
        critical(
            "train, validation and test have rows",
            "Give more rows, or a file for each of data.train, data.validation and data.test.",
            (
                "ExpectColumnDistinctValuesToContainSet",
                {"column": "split", "value_set": list(SPLITS)},
            ),
        ),
        critical(
            f"every split has at least {FEWEST_ROWS} rows",
            "Give more rows: a text file becomes one row for about 2,000 characters.",
            (between, {"column": SPLIT_ROWS, "min_value": FEWEST_ROWS}),
        ),
        warning(
            f"every split has at least {FEW_ROWS} rows",
            "Give more rows: with so few, perplexity moves by chance.",
            (between, {"column": SPLIT_ROWS, "min_value": FEW_ROWS}),
        ),
        *graded(
            REPEATED_SHARE,
            f"no {same} stands twice in a split",
            "Delete the repeated rows: a model learns by heart what it reads often.",
            ("ExpectColumnValuesToBeNull", {"column": REPEATED}),
        ),
        replace(leak, scope="all"),
    ]
