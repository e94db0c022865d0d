"""What a classifier's predictions are worth: scores, calibration, slices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BINS = 10


@dataclass(frozen=True)
class ClassScore:
    """How well one label is found."""

    label: str
    precision: float
    recall: float
    f1: float
    rows: int


@dataclass(frozen=True)
class Bin:
    """Rows whose confidence lies in (low, high]: how sure, and how right, the model is there."""

    low: float
    high: float
    confidence: float
    accuracy: float
    rows: int


def confuse(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Confusion matrix: true x predicted, (classes, classes) counts."""
    pairs = labels.astype(np.int64) * classes + predictions
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def score_classes(confusion: np.ndarray, names: tuple[str, ...]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class; 0 where a ratio has nothing below its line."""
    hits = np.diag(confusion).astype(float)
    true, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = _divide(hits, predicted)
    recall = _divide(hits, true)
    f1 = _divide(2 * hits, true + predicted)
    return tuple(
        ClassScore(name, float(precision[i]), float(recall[i]), float(f1[i]), int(true[i]))
        for i, name in enumerate(names)
    )


def compute_macro_f1(confusion: np.ndarray) -> float:
    """Mean F1 over the classes that stand in the rows or in the predictions.

    As scikit-learn's `f1_score(average="macro")`.
    """
    hits, total = np.diag(confusion).astype(float), confusion.sum(axis=0) + confusion.sum(axis=1)
    present = total > 0
    return float((2 * hits[present] / total[present]).mean()) if present.any() else 0.0


def measure_calibration(
    probabilities: np.ndarray, labels: np.ndarray
) -> tuple[float, tuple[Bin, ...]]:
    """Expected calibration error and the reliability diagram's bins.

    Guo et al. 2017 (arXiv 1706.04599), section 2: ten bins of equal width.

    Args:
        probabilities: (rows, classes). labels: (rows,).
        labels: See probabilities.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    bins, error = [], 0.0
    for number in range(BINS):
        chosen = place == number
        count = int(chosen.sum())
        sure = float(confidence[chosen].mean()) if count else 0.0
        accurate = float(right[chosen].mean()) if count else 0.0
        error += count / len(labels) * abs(sure - accurate)
        bins.append(Bin(number / BINS, (number + 1) / BINS, sure, accurate, count))
    return error, tuple(bins)


def compute_probabilities(logits: np.ndarray) -> np.ndarray:
    """Softmax in float64: (rows, classes)."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    exponents = np.exp(shifted)
    return np.asarray(exponents / exponents.sum(axis=1, keepdims=True))


def _divide(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below > 0))
