"""What is expected of labelled images before anything is trained on them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from finetuning.class_expectations import label_expectations, prepare_classes, row_expectations
from finetuning.expectations import ExpectationSpec, critical, filled, graded, warning
from finetuning.images import LARGEST_IMAGE

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Data

UNREADABLE_SHARE = 0.01  # images that cannot be read and are still only a warning
SMALLEST_SIDE = 8  # pixels
LARGEST_RATIO = 4  # of the longer side to the shorter: images are scaled to a square

_BOMB = "tunesmith.too large"
_BROKEN = "tunesmith.unreadable"


def prepare(rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Add the helper columns that the built-in expectations look at; `rows` stays as it was."""
    import numpy as np

    frame = prepare_classes(rows, columns.image, columns.label)
    frame["tunesmith.filled image"] = filled(frame[columns.image])
    fault = frame["image.fault"]
    bomb = fault.fillna("").str.contains(f"{LARGEST_IMAGE:,}", regex=False)
    shown = frame[columns.image].fillna("") + ": " + fault.fillna("")
    frame[_BOMB] = shown.where(bomb, None)
    frame[_BROKEN] = shown.where(fault.notna() & ~bomb, None)
    sides = frame[["image.width", "image.height"]].astype(float)
    frame["tunesmith.side"] = sides.min(axis=1)
    frame["tunesmith.ratio"] = sides.max(axis=1) / sides.min(axis=1).replace(0, np.nan)
    frame["tunesmith.contrast"] = frame["image.contrast"].astype(float)
    return frame


def list_expectations(data: Data) -> tuple[ExpectationSpec, ...]:
    """The built-in expectations of labelled images, for the pipeline file's data section."""
    image, label = data.columns.image, data.columns.label
    return (
        *(replace(spec, column=spec.column or image) for spec in _image_expectations(image)),
        *label_expectations(label, data.labels),
        *row_expectations(image, "images"),
    )


def _image_expectations(column: str) -> list[ExpectationSpec]:
    null, between = "ExpectColumnValuesToBeNull", "ExpectColumnValuesToBeBetween"
    readable = graded(
        UNREADABLE_SHARE,
        f"every {column} can be read",
        "Replace these files or delete their rows; they are not learned from.",
        (null, {"column": _BROKEN}),
    )
    bomb = critical(
        f"no {column} has more than {LARGEST_IMAGE:,} pixels",
        "Scale these images down, or delete them: such a file can fill the memory when unpacked.",
        (null, {"column": _BOMB}),
    )
    mixture = warning(
        f"{column}s are all grey or all in colour",
        "Check that colour does not go with a label by chance: the model would learn that instead.",
        ("ExpectColumnUniqueValueCountToBeBetween", {"column": "image.mode", "max_value": 1}),
    )
    return [
        critical(
            f"{column} is neither null nor blank",
            "Give every row its image's path, or delete the row.",
            ("ExpectColumnValuesToNotBeNull", {"column": "tunesmith.filled image"}),
        ),
        *(replace(spec, shown=(_BROKEN,)) for spec in readable),
        replace(bomb, shown=(_BOMB,)),
        warning(
            f"{column} has at least {SMALLEST_SIDE} pixels a side",
            "Check whether so small an image shows its label; delete these rows if not.",
            (between, {"column": "tunesmith.side", "min_value": SMALLEST_SIDE}),
        ),
        warning(
            f"no {column} is more than {LARGEST_RATIO} times longer than wide, or wider than long",
            "Crop these images: they are scaled to a square, and such ones are squeezed.",
            (between, {"column": "tunesmith.ratio", "max_value": LARGEST_RATIO}),
        ),
        warning(
            f"{column} is not of one colour throughout",
            "Delete these rows, or save these images again: nothing can be seen in them.",
            (between, {"column": "tunesmith.contrast", "min_value": 1}),
        ),
        replace(mixture, column="image.mode"),
    ]
