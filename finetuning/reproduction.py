"""Whether a model that was made again is the same: by its bytes, else by what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas

Verdict = Literal["identical", "within tolerance", "differs"]
UNBOUNDED = ("test/loss",)  # told, not judged: a few sure mistakes move it at will
NUMBERS = ("score", "loss")  # of a row of the prediction table


@dataclass(frozen=True)
class Tolerance:
    """How far a model that was made on another device may lie off and still be the same one.

    Rounding differs between devices and library versions and training magnifies it; another seed
    moves a score on hundreds of rows by two points, which must not pass.

    Attributes:
        agreement: Least share of the test rows that both models answer alike.
        metric: Largest difference of any metric; of one above 1, as a share of it.
    """

    agreement: float = 0.98
    metric: float = 0.01


TOLERANCE = Tolerance()


@dataclass(frozen=True)
class Comparison:
    """A model and the one that was made again from its record.

    Attributes:
        verdict: What holds of both.
        weights: Weights file -> whether its bytes are equal.
        predictions: Whether all predictions and scores are equal to the last bit.
        agreement: Share of the test rows that both answer alike; 0 where they are other rows.
        largest_score_difference: Of any row that stands in both; None where none does.
        metrics: Metric -> (then, now); None where one side lacks it.
    """

    verdict: Verdict
    weights: dict[str, bool]
    predictions: bool
    agreement: float
    largest_score_difference: float | None
    metrics: dict[str, tuple[float | None, float | None]]


def compare_models(
    weights: tuple[Mapping[str, str], Mapping[str, str]],
    predictions: tuple[pandas.DataFrame, pandas.DataFrame],
    metrics: tuple[Mapping[str, float], Mapping[str, float]],
    tolerance: Tolerance = TOLERANCE,
) -> Comparison:
    """Compare two models, each given as it was then and as it was made again.

    Args:
        weights: Weights file -> SHA-256.
        predictions: Prediction tables with id, and what the problem marks.
        metrics: The test metrics.
        tolerance: What passes where the weights differ.
    """
    then, now = weights
    equal = {name: name in then and then[name] == now.get(name) for name in sorted({*then, *now})}
    both = {
        name: (metrics[0].get(name), metrics[1].get(name))
        for name in sorted({*metrics[0], *metrics[1]})
    }
    first, second = predictions
    rows = first.merge(second, on="id", how="outer", suffixes=("", "_again"), indicator=True)
    texts = [name for name in ("prediction", "label") if f"{name}_again" in rows]
    alike = rows["_merge"] == "both"
    for name in texts:
        alike &= rows[name] == rows[f"{name}_again"]
    agreement = float(alike.mean()) if len(rows) else 0.0
    numbers = [name for name in NUMBERS if f"{name}_again" in rows]
    gaps = [(rows[name] - rows[f"{name}_again"]).abs().dropna() for name in numbers]
    largest = max((float(gap.max()) for gap in gaps if len(gap)), default=None)
    close = agreement >= tolerance.agreement and all(
        first is not None
        and second is not None
        and abs(first - second) <= tolerance.metric * max(1.0, abs(first))
        for name, (first, second) in both.items()
        if name not in UNBOUNDED
    )
    verdict: Verdict = "within tolerance" if close else "differs"
    if close and equal and all(equal.values()):
        verdict = "identical"
    same = agreement == 1.0 and largest == 0.0
    return Comparison(verdict, equal, same, agreement, largest, both)


def _is_close(then: float | None, now: float | None, limit: float) -> bool:
    if then is None or now is None:
        return False
    return abs(then - now) <= limit * max(1.0, abs(then))
