"""The labels of a classification problem, learned from the data."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas
    import torch

    from finetuning.config import Columns


def learn_labels(rows: pandas.DataFrame, columns: Columns) -> tuple[str, ...]:
    """The labels of the training rows, in order; numbers are ordered as numbers."""
    labels = set(rows.loc[rows["split"] == "train", columns.label].dropna().unique())
    try:
        numbers = {label: float(label) for label in labels}
    except ValueError:
        return tuple(sorted(labels))
    if any(map(math.isnan, numbers.values())):  # the text "nan", which has no place in an order
        return tuple(sorted(labels))
    return tuple(sorted(labels, key=lambda label: (numbers[label], label)))


def balance(labels: np.ndarray, classes: int = 0) -> np.ndarray:
    """Weights by which all labels of the rows count alike, 1 on the rows' average: (classes,) fp32.

    As scikit-learn's `compute_class_weight("balanced")`; 0 for a class without rows.

    Args:
        labels: Class numbers of the training rows, (rows,).
        classes: Number of classes, where more are known than the rows have.
    """
    counts = np.bincount(labels, minlength=classes)
    present = counts > 0
    weights = len(labels) / (present.sum() * np.maximum(counts, 1))
    return np.where(present, weights, 0.0).astype(np.float32)


def weigh_targets(targets: torch.Tensor, weights: np.ndarray, classes: int) -> torch.Tensor:
    """Targets whose cross-entropy is weighted by class: (batch, classes) fp32.

    Args:
        targets: Class numbers, (batch,) int64, or each class's share, (batch, classes).
        weights: As `balance` gives them.
        classes: Number of classes.
    """
    import torch

    shares = targets
    if targets.ndim == 1:
        shares = torch.nn.functional.one_hot(targets, classes).float()
    padded = torch.zeros(classes)
    padded[: len(weights)] = torch.from_numpy(weights)
    return shares * padded
