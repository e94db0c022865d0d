"""What is expected of labelled rows, whatever is labelled.

The table is prepared once: columns named `tunesmith.…` hold what an expectation cannot see in one
row alone, such as whether the same text or image carries two labels.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from finetuning.expectations import (
    LEFT_OUT,
    SPLITS,
    ExpectationSpec,
    critical,
    filled,
    graded,
    warning,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas

TRAIN_LABEL = "tunesmith.train label"
CONTRADICTED = "tunesmith.contradicted"

CONTRADICTED_SHARE = 0.10  # rows that are the same but labelled otherwise: still only a warning
FEWEST_CLASSES = 2
FEWEST_ROWS = 2  # of a class in train: one row can be learned by heart, never checked
FEW_ROWS = 10  # of a class in train: below this its score is mostly chance
LARGEST_IMBALANCE = 20  # times that the largest class may be the smallest


def prepare_classes(rows: pandas.DataFrame, shown: str, label: str) -> pandas.DataFrame:
    """Add the helper columns about labels; `rows` stays as it was.

    The rows have `split` and `key` beside the user's columns, and none of them is left out. A
    helper column is null in every row that it has nothing to say about.

    Args:
        rows: The rows.
        shown: The column that stands for a row.
        label: The column of labels.
    """
    frame = rows.copy()
    labels = frame["tunesmith.label"] = filled(frame[label])
    text = frame[shown].fillna("")
    frame[TRAIN_LABEL] = labels.where(frame["split"] == "train", None)
    known = frame["key"].notna() & labels.notna()
    frame["tunesmith.repeated"] = text.where(
        known & frame.duplicated(["split", "key", "tunesmith.label"]), None
    )
    frame[CONTRADICTED] = _contradicted(frame, text)
    _add_class_columns(frame)
    return frame


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
    present = {name: set(label[split == name].unique()) for name in split.unique()}
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


def label_expectations(column: str, labels: Sequence[str] | None) -> list[ExpectationSpec]:
    """Of each label alone, and of each class."""
    return [
        replace(spec, column=column)
        for spec in (*_label_expectations(column, labels), *_class_expectations())
    ]


def _label_expectations(column: str, labels: Sequence[str] | None) -> list[ExpectationSpec]:
    specs = [
        critical(
            f"{column} is neither null nor blank",
            "Give every row its label, or delete the row.",
            ("ExpectColumnValuesToNotBeNull", {"column": "tunesmith.label"}),
        ),
        critical(
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
        critical(
            f"{column} is one of data.labels",
            f"Correct these labels, or add them to data.labels ({', '.join(labels[:10])}).",
            ("ExpectColumnValuesToBeInSet", {"column": "tunesmith.label", **allowed}),
        ),
        critical(
            "train has every one of data.labels",
            "Add rows of the missing labels to train, or take them out of data.labels.",
            ("ExpectColumnDistinctValuesToContainSet", {"column": TRAIN_LABEL, **allowed}),
        ),
    ]


def _class_expectations() -> list[ExpectationSpec]:
    between, unique = "ExpectColumnValuesToBeBetween", "ExpectColumnUniqueValueCountToBeBetween"
    rows, missing = {"column": "tunesmith.class rows"}, "tunesmith.missing class"
    more = "Label more rows of these classes, or merge them with a class that is near."
    every = critical(
        "every class of train stands in validation and test",
        "Add rows of these classes: each split must be able to show what was learned.",
        ("ExpectColumnValuesToBeNull", {"column": missing}),
    )
    fewest = f"every class has at least {FEWEST_ROWS} rows in train"
    few = f"every class has at least {FEW_ROWS} rows in train"
    return [
        critical(
            f"train has at least {FEWEST_CLASSES} classes",
            "Check data.columns.label: one class leaves nothing to learn.",
            (unique, {"column": TRAIN_LABEL, "min_value": FEWEST_CLASSES}),
        ),
        replace(every, shown=(missing,)),
        critical(fewest, more, (between, {**rows, "min_value": FEWEST_ROWS})),
        warning(few, more, (between, {**rows, "min_value": FEW_ROWS})),
        warning(
            f"no class of train is more than {LARGEST_IMBALANCE} times smaller than the largest",
            "Label more rows of these classes, and set gate.metric to macro_f1.",
            (between, {"column": "tunesmith.imbalance", "max_value": LARGEST_IMBALANCE}),
        ),
    ]


def row_expectations(column: str, things: str) -> list[ExpectationSpec]:
    """Of rows beside each other: repeats, contradictions, leaks.

    Args:
        column: The column that stands for a row.
        things: What it holds, in the plural: texts.
    """
    contradicted = graded(
        CONTRADICTED_SHARE,
        f"no {column} has two labels",
        f"Decide on one label for each of these {things}, or delete its rows.",
        ("ExpectColumnValuesToBeNull", {"column": CONTRADICTED}),
    )
    leak = warning(
        f"no {column} of train stands in validation or test too",
        "These rows were left out of training; delete them where they do not belong.",
        ("ExpectColumnValuesToNotBeInSet", {"column": "split", "value_set": [LEFT_OUT]}),
    )
    specs = [
        warning(
            f"no {column} stands twice with the same label in a split",
            "Delete the repeated rows: they weigh more than others, and scores count them twice.",
            ("ExpectColumnValuesToBeNull", {"column": "tunesmith.repeated"}),
        ),
        *(replace(spec, shown=(CONTRADICTED,)) for spec in contradicted),
        replace(leak, scope="all"),
    ]
    return [replace(spec, column=column) for spec in specs]
