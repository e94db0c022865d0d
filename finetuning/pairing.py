"""Two models on the same rows: how far apart they are, and how sure that is.

Everything is oriented so that a positive difference means that the candidate is better, also for
measures of which less is better.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finetuning.measures import Measure, list_labels
from finetuning.statistics import (
    Difference,
    bootstrap_paired,
    bootstrap_sums,
    compare_accuracy,
    wilson,
)

if TYPE_CHECKING:
    import pandas

    from finetuning.statistics import Resampled

MCNEMAR = "exact McNemar, Newcombe's interval"
BOOTSTRAP = "paired bootstrap"
BISECTIONS = 50


@dataclass(frozen=True)
class Paired:
    """Both models' scores on the same rows, and their difference."""

    rows: int
    candidate: float
    champion: float
    difference: float
    low: float
    high: float
    p_value: float  # two-sided, of 'no difference'
    test: str
    draws: int | None = None  # of the bootstrap


def compare(
    measure: Measure, candidate: pandas.DataFrame, champion: pandas.DataFrame, level: float
) -> Paired:
    """Compare two prediction tables with the same rows in the same order.

    Shares of right rows: exact McNemar (McNemar 1947) and Newcombe's interval for paired
    proportions (Newcombe 1998). Anything else: a paired bootstrap over rows.

    Args:
        measure: What is compared.
        candidate: Its prediction table.
        champion: Likewise.
        level: One-sided; the interval's confidence is 1 - 2 * level.
    """
    hits = _find_hits(measure, candidate, champion)
    if hits is not None:
        found, test = _orient(measure, compare_accuracy(*hits, alpha=2 * level)), MCNEMAR
    else:
        found, test = _resample(measure, candidate, champion, level).summarise(level), BOOTSTRAP
    scores = measure.compute(candidate), measure.compute(champion)
    sign = -1 if measure.lower_is_better else 1
    difference = sign * (scores[0] - scores[1])
    return Paired(
        len(candidate), *scores, difference, found.low, found.high, found.p_value, test, found.draws
    )  # fmt: skip


def find_interval(measure: Measure, table: pandas.DataFrame, level: float) -> tuple[float, float]:
    """How far one model's number would move on other rows like these.

    Shares of right rows: Wilson's interval. Anything else: a bootstrap over rows.

    Args:
        measure: What is measured.
        table: The model's prediction table.
        level: One-sided; the interval's confidence is 1 - 2 * level.
    """
    parts = measure.split(table, list_labels(table))
    if measure.is_mean and np.isin(parts, (0.0, 1.0)).all():
        return wilson(int(parts.sum()), len(parts), 2 * level)
    found = bootstrap_sums(parts, measure.join, level).summarise(level)
    return found.low, found.high


def weigh_fall(
    measure: Measure, candidate: pandas.DataFrame, champion: pandas.DataFrame, limit: float
) -> float:
    """One-sided p-value of 'the candidate is not further than `limit` below the champion'.

    For shares it is the level at which the upper bound of Newcombe's interval comes to lie at
    -limit; for anything else the share of bootstrap draws at or above it.
    """
    hits = _find_hits(measure, candidate, champion)
    if hits is None:
        return _resample(measure, candidate, champion).chance_of_at_least(-limit)
    low, high = 0.0, 0.5
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        reached = _orient(measure, compare_accuracy(*hits, alpha=2 * middle)).high
        low, high = (low, middle) if reached < -limit else (middle, high)
    return high if high < 0.5 else 1.0


def _find_hits(
    measure: Measure, candidate: pandas.DataFrame, champion: pandas.DataFrame
) -> tuple[np.ndarray, np.ndarray] | None:
    """Which rows each model got right, where the measure is a share of rows."""
    labels = list_labels(candidate, champion)
    parts = [measure.split(table, labels) for table in (candidate, champion)]
    both = np.concatenate(parts)
    if both.shape[1] != 1 or not measure.is_mean or not np.isin(both, (0.0, 1.0)).all():
        return None
    return parts[0][:, 0] == 1.0, parts[1][:, 0] == 1.0


def _orient(measure: Measure, found: Difference) -> Difference:
    if not measure.lower_is_better:
        return found
    return Difference(-found.value, -found.high, -found.low, found.p_value)


def _resample(
    measure: Measure,
    candidate: pandas.DataFrame,
    champion: pandas.DataFrame,
    level: float | None = None,
) -> Resampled:
    labels = list_labels(candidate, champion)
    first, second = (measure.split(table, labels) for table in (candidate, champion))
    if measure.lower_is_better:
        first, second = second, first
    return bootstrap_paired(first, second, measure.join, level)
