"""Strategies side by side: from trials to means, spreads, and one plain sentence.

A trial is one strategy on one number of rows with one seed. Trials are paired: with the same seed
and size every strategy learned from the same rows, and all are scored on the same validation rows.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.measures import find_measure, list_labels
from finetuning.roles import SHARES
from finetuning.statistics import bootstrap_sums

if TYPE_CHECKING:
    import pandas

ALPHA = 0.05
SCRATCH = "scratch"
FEWEST_SIZES = 3  # a power law has two numbers of its own
HORIZON = 10  # how many times the rows at hand an extrapolation may reach


@dataclass(frozen=True)
class Trial:
    """What one trial showed on the validation rows, and what it cost."""

    strategy: str
    size: int
    seed: int
    score: float
    trained: int  # parameters
    seconds: float
    memory: int  # bytes, the process's peak


@dataclass(frozen=True)
class Cell:
    """A strategy at a size, over the seeds."""

    strategy: str
    size: int
    seeds: int
    mean: float
    spread: float | None  # standard deviation; None of a single seed
    low: float
    high: float
    trained: int
    seconds: float  # mean
    memory: int  # largest

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Choice:
    """The strategy with the highest mean at the largest size, against the next one."""

    strategy: str
    size: int
    runner_up: str | None
    difference: float
    spread: float | None  # standard deviation of the difference over the seeds
    interval: tuple[float, float]
    sure: bool

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class Law:
    """A learning curve: error = scale * size ** -slope."""

    scale: float
    slope: float

    def error(self, size: float) -> float:
        """The error that the law gives at a size."""
        return float(self.scale * size**-self.slope)


@dataclass(frozen=True)
class Crossing:
    """From how many rows on scratch would be as good, and how that is known."""

    rows: float | None  # None: never, or it cannot be said
    beyond: bool  # further than HORIZON times the largest size
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def summarise(trials: Sequence[Trial]) -> tuple[Cell, ...]:
    """Mean and spread of every strategy at every size, in the order of the trials."""
    cells = []
    for strategy, size in dict.fromkeys((trial.strategy, trial.size) for trial in trials):
        own = [trial for trial in trials if (trial.strategy, trial.size) == (strategy, size)]
        scores = np.array([trial.score for trial in own])
        cells.append(
            Cell(
                strategy,
                size,
                len(own),
                float(scores.mean()),
                _deviate(scores),
                float(scores.min()),
                float(scores.max()),
                own[0].trained,
                float(np.mean([trial.seconds for trial in own])),
                max(trial.memory for trial in own),
            )
        )
    return tuple(cells)


def _deviate(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def choose(
    trials: Sequence[Trial],
    tables: Mapping[tuple[str, int], pandas.DataFrame],
    metric: str,
) -> Choice:
    """The strategy with the best mean on validation at the largest size; ties to the faster.

    It counts as sure only where the paired bootstrap over the validation rows excludes zero, at a
    level divided by the number of the other strategies (Bonferroni), where it leads with every seed
    and where there are at least two.

    Args:
        trials: All trials.
        tables: Prediction tables of the same validation rows, by strategy and seed, at the largest
            size.
        metric: A metric of the problem.
    """
    measure = find_measure(metric)
    sign = -1 if measure.lower_is_better else 1
    size = max(trial.size for trial in trials)
    cells = [cell for cell in summarise(trials) if cell.size == size]
    first, *others = sorted(cells, key=lambda cell: (-sign * cell.mean, cell.seconds))
    if not others:
        return Choice(first.strategy, size, None, 0.0, None, (0.0, 0.0), False)
    second = others[0].strategy
    seeds = sorted(seed for strategy, seed in tables if strategy == first.strategy)
    labels = list_labels(*tables.values())
    parts = [
        measure.split(tables[strategy, seed], labels)
        for strategy in (first.strategy, second)
        for seed in seeds
    ]

    def lead(sums: np.ndarray, rows: float) -> np.ndarray:
        """(draws, parts of all tables) -> (draws, seeds)."""
        scores = [measure.join(own, rows) for own in np.split(sums, len(parts), axis=1)]
        return sign * np.stack([scores[n] - scores[n + len(seeds)] for n in range(len(seeds))], 1)

    values, level = np.concatenate(parts, axis=1), ALPHA / len(others) / 2
    own = lead(values.sum(axis=0, keepdims=True), len(values))[0]
    found = bootstrap_sums(values, lambda sums, rows: lead(sums, rows).mean(axis=1), level)
    interval = found.summarise(level)
    sure = bool(interval.low > 0 and len(seeds) > 1 and (own > 0).all())
    return Choice(
        first.strategy, size, second, float(own.mean()), _deviate(own),
        (interval.low, interval.high), sure,
    )  # fmt: skip


def fit_law(sizes: Sequence[int], errors: Sequence[float]) -> Law:
    """Least squares of log error over log size (Hestness et al. 2017, arXiv 1712.00409, section 3).

    Args:
        sizes: Rows, two different numbers at least.
        errors: Errors at those sizes, above zero.
    """
    slope, intercept = np.polyfit(np.log(sizes), np.log(errors), 1)
    return Law(float(np.exp(intercept)), float(-slope))


def find_crossing(cells: Sequence[Cell], rows: int, metric: str) -> Crossing:
    """From which size training from scratch would be as good as the best of the others.

    Where the curves have not crossed, both are extended by power laws, and no further than HORIZON
    times the largest size.

    Args:
        cells: What `summarise` gives.
        rows: Number of validation rows: an error below half a row cannot be seen.
        metric: What the cells are scored by.
    """
    scratch = _find_least_errors(cells, rows, metric, of_scratch=True)
    others = _find_least_errors(cells, rows, metric, of_scratch=False)
    if not scratch or not others:
        said = "Whether training from scratch would pay cannot be said: scratch and another "
        return Crossing(None, False, f"{said}strategy were not both compared.")
    best = {size: others[size] for size in scratch}
    ahead = [size for size in best if all(scratch[s] <= best[s] for s in best if s >= size)]
    if ahead:
        said = f"From {ahead[0]:,} rows on, training from scratch was no worse."
        return Crossing(float(ahead[0]), False, said)
    largest = max(best)
    if len(best) < FEWEST_SIZES:
        said = (
            f"Training from scratch was worse on {largest:,} rows; from which size it would pay "
            f"cannot be said from fewer than {FEWEST_SIZES} sizes."
        )
        return Crossing(None, False, said)
    laws = [fit_law(list(best), list(curve.values())) for curve in (scratch, best)]
    return _extend(laws[0], laws[1], largest)


def _find_least_errors(
    cells: Sequence[Cell], rows: int, metric: str, of_scratch: bool
) -> dict[int, float]:
    """The least error at every size, of scratch at whatever rate, or of all others."""
    errors: dict[int, float] = {}
    for cell in sorted(cells, key=lambda cell: cell.size):
        if (cell.strategy.partition("@")[0] == SCRATCH) == of_scratch:
            error = find_error(metric, cell.mean, rows)
            errors[cell.size] = min(error, errors.get(cell.size, math.inf))
    return errors


def find_error(metric: str, score: float, rows: int) -> float:
    """What falls by a power law as rows are added, of a mean score on so many validation rows.

    What is missing to 1 of a share, the share itself where less is better, and of a perplexity its
    logarithm, the loss in nats (Kaplan et al. 2020, arXiv 2001.08361, section 1.2).
    """
    if metric not in SHARES:
        error = math.log(score)
    else:
        error = score if find_measure(metric).lower_is_better else 1 - score
    return max(error, 0.5 / rows)


def _extend(scratch: Law, best: Law, largest: int) -> Crossing:
    method = f"power laws, error ~ rows^-{scratch.slope:.2f} against rows^-{best.slope:.2f}"
    if scratch.slope <= best.slope:
        said = (
            "At no size would training from scratch catch up, as far as these curves tell "
            f"({method})."
        )
        return Crossing(None, False, said)
    # In logarithms, because nearly parallel curves meet further away than a float reaches.
    distance = math.log(scratch.scale / best.scale) / (scratch.slope - best.slope)
    if distance > math.log(HORIZON * largest):
        said = (
            f"Training from scratch would not be worth it within {HORIZON} times the "
            f"{largest:,} rows compared ({method})."
        )
        return Crossing(None, True, said)
    rows = max(math.exp(distance), float(largest))
    said = (
        f"Training from scratch would catch up at about {rows:,.0f} rows ({method}; an "
        "extrapolation, not a measurement)."
    )
    return Crossing(rows, False, said)
