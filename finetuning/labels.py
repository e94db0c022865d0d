"""The labels of a classification problem, learned from the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns


def learn_labels(rows: pandas.DataFrame, columns: Columns) -> tuple[str, ...]:
    """The labels of the training rows, in order; numbers are ordered as numbers."""
    labels = set(rows.loc[rows["split"] == "train", columns.label].dropna())
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return tuple(sorted(labels))
    if any(map(math.isnan, numbers.values())):  # the text "nan", which has no place in an order
        return tuple(sorted(labels))
    return tuple(sorted(labels, key=lambda label: (numbers[label], label)))
