"""The statistics of comparing models on the same rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

RESAMPLES = 2000
SEED = 20180118  # fixed, so that a verdict can be computed again
TAIL = 10  # draws that must lie beyond a bound for the bound to be read off the draws
MOST_COUNTS = 50_000_000  # draws x different rows that one bootstrap may draw
MOST_DRAWS = 5_000_000  # whose numbers are held
_AT_ONCE = 4_000_000


@dataclass(frozen=True)
class Difference:
    """First model minus second, with an interval and a two-sided p-value.

    `draws` is how many resamples it rests on, None where it was computed exactly.
    """

    value: float
    low: float
    high: float
    p_value: float
    draws: int | None = None


@cache  # a bisection over levels asks for the same counts fifty times
def mcnemar(first_only: int, second_only: int) -> float:
    """Exact two-sided McNemar test (McNemar 1947; the binomial form of Mosteller 1952).

    Args:
        first_only: Rows that only the first model got right.
        second_only: Rows that only the second model got right.

    Returns:
        The p-value of 'both models are right equally often'.
    """
    from scipy.stats import binomtest

    discordant = first_only + second_only
    return float(binomtest(first_only, discordant, 0.5).pvalue) if discordant else 1.0


def wilson(hits: int, rows: int, alpha: float = 0.05) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927)."""
    from scipy.stats import norm

    z = float(norm.ppf(1 - alpha / 2))
    share, scale = hits / rows, 1 + z * z / rows
    middle = (share + z * z / (2 * rows)) / scale
    spread = z / scale * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return max(0.0, middle - spread), min(1.0, middle + spread)


def compare_accuracy(first: np.ndarray, second: np.ndarray, alpha: float = 0.05) -> Difference:
    """Compare two models by the rows they got right.

    The interval is Newcombe's for paired proportions (Newcombe 1998, Statistics in Medicine 17,
    method 10); the p-value is exact McNemar.

    Args:
        first: Boolean, (rows,): whether the first model got each row right.
        second: Likewise, on the same rows.
        alpha: One minus the interval's confidence.
    """
    rows = len(first)
    both = int((first & second).sum())
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    neither = rows - both - only_first - only_second
    share_first, share_second = (both + only_first) / rows, (both + only_second) / rows
    low_first, high_first = wilson(both + only_first, rows, alpha)
    low_second, high_second = wilson(both + only_second, rows, alpha)
    margins = (both + only_first) * (both + only_second) * (neither + only_second)
    product = float(margins) * (neither + only_first)
    cross = float(both * neither - only_first * only_second)
    if cross > 0:
        cross = max(cross - rows / 2, 0.0)
    phi = cross / math.sqrt(product) if product else 0.0
    difference = share_first - share_second
    below = _spread(share_first - low_first, high_second - share_second, phi)
    above = _spread(high_first - share_first, share_second - low_second, phi)
    p_value = mcnemar(only_first, only_second)
    return Difference(difference, difference - below, difference + above, p_value)


def _spread(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


@dataclass(frozen=True)
class Resampled:
    """A number, such as a difference of two models, and what it was on resampled rows, (draws,)."""

    value: float
    draws: np.ndarray

    def summarise(self, level: float) -> Difference:
        """The percentile interval with `level` beyond each bound, and a two-sided p-value.

        A level too small for these draws (fewer than TAIL beyond a bound) takes the normal
        interval with the draws' standard deviation (Efron and Tibshirani 1993, chapters 13 and 12).
        """
        from scipy.stats import norm

        spread = float(self.draws.std())
        if len(self.draws) * level < TAIL and spread > 0:
            reach = float(norm.isf(level)) * spread
            p_value = float(2 * norm.sf(abs(self.value) / spread))
            bounds = self.value - reach, self.value + reach
            return Difference(self.value, *bounds, p_value, len(self.draws))
        low, high = np.quantile(self.draws, [level, 1 - level])
        p_value = min(1.0, 2 * min(self.chance_of_at_least(0.0), self._chance_of_at_most(0.0)))
        return Difference(self.value, float(low), float(high), p_value, len(self.draws))

    # One is added to each count: a p-value of 0 cannot be known from finitely many draws.
    def chance_of_at_least(self, bound: float) -> float:
        """One-sided p-value of 'the difference is at least this'."""
        return float(((self.draws >= bound).sum() + 1) / (len(self.draws) + 1))

    def _chance_of_at_most(self, bound: float) -> float:
        return float(((self.draws <= bound).sum() + 1) / (len(self.draws) + 1))


def bootstrap_paired(
    first: np.ndarray,
    second: np.ndarray,
    join: Callable[[np.ndarray, float], np.ndarray],
    level: float | None = None,
) -> Resampled:
    """Paired bootstrap over rows of a number that is a function of sums over rows.

    Rows are resampled with replacement, the same ones for both models, with a fixed seed (Efron
    and Tibshirani 1993, chapter 8). Equal rows are drawn together, as one multinomial count.

    Args:
        first: Each row's parts for the first model, (rows, parts).
        second: Likewise for the second, same rows.
        join: From sums, (draws, parts), and the number of rows to the number, (draws,).
        level: One-sided level that is asked of the draws; a smaller one takes more of them.
    """
    parts = first.shape[1]

    def differ(sums: np.ndarray, rows: float) -> np.ndarray:
        return np.asarray(join(sums[:, :parts], rows) - join(sums[:, parts:], rows))

    return bootstrap_sums(np.concatenate([first, second], axis=1), differ, level)


def bootstrap_sums(
    values: np.ndarray,
    join: Callable[[np.ndarray, float], np.ndarray],
    level: float | None = None,
) -> Resampled:
    """Bootstrap over rows of a number that is a function of sums over rows.

    Args:
        values: Each row's parts, (rows, parts).
        join: From sums, (draws, parts), and the number of rows to the number, (draws,).
        level: One-sided level that is asked of the draws; a smaller one takes more of them.
    """
    rows = len(values)
    cells, counts = np.unique(values, axis=0, return_counts=True)
    wanted = max(RESAMPLES, math.ceil(TAIL / level) if level else 0)
    draws = max(RESAMPLES, min(wanted, MOST_DRAWS, MOST_COUNTS // len(cells)))
    generator = np.random.default_rng(SEED)

    def compute(drawn: np.ndarray) -> np.ndarray:
        return join(drawn.astype(float) @ cells, rows)

    size = max(1, _AT_ONCE // max(cells.shape))
    chunks = [min(size, draws - start) for start in range(0, draws, size)]
    shares = counts / rows
    drawn = [compute(generator.multinomial(rows, shares, size=chunk)) for chunk in chunks]
    return Resampled(float(compute(counts[None])[0]), np.concatenate(drawn))


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number (Holm 1979): the family holds at the level together."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[index]))
        adjusted[index] = highest
    return adjusted
