"""What images give without any base model: logistic regression on their pixels."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from finetuning.baselines import describe_majority, name_classes
from finetuning.parts import Baseline

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns
    from finetuning.pixels import ImageRows

SIDE = 8  # pixels that an image is averaged down to
STRENGTHS = (0.1, 1.0, 10.0)  # inverse penalties; the validation split chooses


def predict_simply(
    tables: Mapping[str, pandas.DataFrame],  # noqa: ARG001 - the pixels say it all
    rows: Mapping[str, ImageRows],
    columns: Columns,  # noqa: ARG001 - likewise
    labels: Sequence[str],
) -> tuple[Baseline, ...]:
    """The most frequent label, and the pixels, see `predict_pixels` and `problem.Comparing`."""
    found = name_classes(predict_pixels(rows), labels)
    pixels = Baseline("pixels", "logistic regression on the pixels", found)
    return describe_majority(rows, labels), pixels


def predict_pixels(rows: Mapping[str, ImageRows]) -> np.ndarray:
    """Logistic regression on each image averaged down to 8 by 8 pixels (scikit-learn).

    Returns:
        Class numbers of the test rows, (rows,).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    small = {split: shrink(one.pixels) for split, one in rows.items()}
    best, predictions = -1.0, np.empty(0, np.int64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=200)
            model.fit(small["train"], rows["train"].labels)
            hits = model.predict(small["validation"]) == rows["validation"].labels
            if hits.mean() > best:
                best = float(hits.mean())
                predictions = np.asarray(model.predict(small["test"]), np.int64)
    return predictions


def shrink(pixels: np.ndarray) -> np.ndarray:
    """Means of blocks, from -1 to 1: (rows, channels, side, side) -> (rows, features)."""
    rows, side = len(pixels), pixels.shape[-1]
    edges = np.linspace(0, side, min(SIDE, side) + 1).astype(int)[:-1]
    sums = np.add.reduceat(np.add.reduceat(pixels.astype(np.float32), edges, 2), edges, 3)
    sizes = np.diff(np.append(edges, side))
    means = sums / (sizes[:, None] * sizes[None, :])
    return np.asarray(means.reshape(rows, -1) / 127.5 - 1)
