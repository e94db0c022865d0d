"""Whether two samples of rows differ by more than chance gives, and whether by enough to matter.

A p-value says whether chance alone would show a difference, never how large it is: of many rows the
smallest is beyond chance. So each comparison has an effect beside it, and only what is beyond
chance and not small is called a real shift.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from finetuning.statistics import adjust_holm

if TYPE_CHECKING:
    import pandas

ALPHA = 0.01  # a shift is called one where chance alone would show it less often than this
SMALL = 0.05  # an effect below this is small: five rows of a hundred would have to change
FEW = 1_000_000  # pairs of rows up to which a p-value is exact: its limit fails for a few rows
LEAST_EXPECTED = 5  # rows a cell for which the chi-squared approximation holds (Cochran 1954)
LONGEST_NAME = 40  # characters of a label that a sentence shows
NONE = "(none)"
REAL, SLIGHT, CHANCE, UNKNOWN = (
    "a real shift",
    "more than chance would give, but small",
    "no more than chance would give",
    "too little to compare",
)
Summary = Literal["median", "mean"]


@dataclass(frozen=True)
class Shift:
    """One trait of the rows in two samples.

    Attributes:
        trait: What is compared, such as labels.
        before: Share of each value; of numbers their `summary` alone.
        after: Likewise.
        rows: Rows of both samples that have the trait.
        effect: From 0, the same, to 1. Of shares the total variation distance, half the sum of
            their absolute differences; of numbers the largest distance of the two distribution
            functions. None where one sample is empty.
        distance: The effect's name.
        summary: Of numbers median or mean; empty of shares.
        test: The test's name; empty where there is too little to test.
        p_value: Of this test alone; None likewise.
        adjusted: Corrected for all comparisons that are shown with it, see `correct`.
    """

    trait: str
    before: Mapping[str, float]
    after: Mapping[str, float]
    rows: tuple[int, int]
    effect: float | None
    distance: str
    summary: str = ""
    test: str = ""
    p_value: float | None = None
    adjusted: float | None = None

    @property
    def verdict(self) -> str:
        """REAL, SLIGHT, CHANCE or UNKNOWN."""
        corrected = self.p_value if self.adjusted is None else self.adjusted
        if corrected is None or self.effect is None:
            return UNKNOWN
        if corrected >= ALPHA:
            return CHANCE
        return REAL if self.effect >= SMALL else SLIGHT


def compare_shares(trait: str, before: pandas.Series, after: pandas.Series) -> Shift:
    """Test whether the values of two samples come from one distribution.

    Pearson's chi-squared test of homogeneity (`scipy.stats.chi2_contingency`). Values that are too
    rare for it are taken together; where that leaves two cells a sample that are still too small,
    it is Fisher's exact test. Rows that both samples share make either cautious: it then finds less
    than there is.
    """
    counts = [Counter(values.fillna(NONE)) for values in (before, after)]
    names = sorted({*counts[0], *counts[1]})
    table = np.array([[count[name] for name in names] for count in counts], dtype=float)
    sizes = table.sum(axis=1)
    shares = [row / max(size, 1) for row, size in zip(table, sizes, strict=True)]
    effect = float(np.abs(shares[0] - shares[1]).sum() / 2) if sizes.all() else None
    then, now = (dict(zip(names, map(float, row), strict=True)) for row in shares)
    found = Shift(
        trait,
        then,
        now,
        rows=(len(before), len(after)),
        effect=effect,
        distance="total variation distance",
    )
    if effect is None or len(names) < 2:
        return found
    test, p_value = _test_counts(table)
    return replace(found, test=test, p_value=p_value)


def _test_counts(table: np.ndarray) -> tuple[str, float]:
    """The test's name and p-value, for counts of (2, values); two values at least."""
    from scipy.stats import chi2_contingency, fisher_exact

    def expect(some: np.ndarray) -> np.ndarray:
        return np.asarray(np.outer(some.sum(axis=1), some.sum(axis=0)) / some.sum())

    # The rarest are one cell, and it takes in the next rarest until it holds enough.
    order = np.argsort(-table.sum(axis=0), kind="stable")
    kept = max(1, int((expect(table).min(axis=0) >= LEAST_EXPECTED).sum()))
    while True:
        rest = table[:, order[kept:]].sum(axis=1, keepdims=True)
        pooled = np.concatenate([table[:, order[:kept]], rest], axis=1)
        pooled = pooled[:, pooled.sum(axis=0) > 0]
        if kept == 1 or expect(pooled).min() >= LEAST_EXPECTED:
            break
        kept -= 1
    if expect(pooled).min() >= LEAST_EXPECTED:
        return "chi-squared test", float(chi2_contingency(pooled, correction=False).pvalue)
    return "Fisher's exact test", float(fisher_exact(pooled).pvalue)


def compare_numbers(
    trait: str, before: pandas.Series, after: pandas.Series, summary: Summary = "median"
) -> Shift:
    """Test whether the numbers of two samples come from one distribution.

    Two-sample Kolmogorov-Smirnov test (`scipy.stats.ks_2samp`), which sees a change of spread as
    well as one of the middle; ties make it cautious, and so do rows that both samples share.
    """
    from scipy.stats import ks_2samp

    then, now = (values.dropna().to_numpy(float) for values in (before, after))
    middle = np.median if summary == "median" else np.mean
    shown = [float(middle(some)) if len(some) else 0.0 for some in (then, now)]
    found = Shift(
        trait,
        {summary: shown[0]},
        {summary: shown[1]},
        rows=(len(then), len(now)),
        effect=None,
        distance="distance of the distribution functions",
        summary=summary,
    )
    if not (len(then) and len(now)):
        return found
    method = "exact" if len(then) * len(now) <= FEW else "asymp"
    result = ks_2samp(then, now, method=method)
    return replace(
        found,
        effect=float(result.statistic),
        test="Kolmogorov-Smirnov test",
        p_value=float(result.pvalue),
    )


def correct(shifts: Sequence[Shift]) -> list[Shift]:
    """The same, each p-value corrected for the number of all that are shown together (Holm)."""
    tested = [shift.p_value for shift in shifts if shift.p_value is not None]
    adjusted = iter(adjust_holm(tested))
    return [
        shift if shift.p_value is None else replace(shift, adjusted=next(adjusted))
        for shift in shifts
    ]


def describe(shift: Shift) -> str:
    """One sentence: whether the trait shifted, from what to what, and what that rests on."""
    if shift.p_value is None or shift.effect is None:
        return f"{shift.trait}: {UNKNOWN}"
    corrected = "" if shift.adjusted is None else f", corrected {tell(shift.adjusted)}"
    return (
        f"{shift.trait}: {shift.verdict}: {_tell_change(shift)} ({shift.distance} "
        f"{shift.effect:.3f}; {shift.test}, p = {tell(shift.p_value)}{corrected})"
    )


def _tell_change(shift: Shift) -> str:
    if name := shift.summary:
        return f"{name} {shift.before[name]:.4g} -> {shift.after[name]:.4g}"
    moves = {name: shift.after[name] - shift.before[name] for name in shift.after}
    name = max(moves, key=lambda one: abs(moves[one]))
    shown = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
    return f"most of all {shown} {shift.before[name]:.1%} -> {shift.after[name]:.1%}"


def conclude(shifts: Sequence[Shift]) -> str:
    """One plain sentence over all of them."""
    found = {shift.verdict for shift in shifts}
    for verdict, lead in ((REAL, REAL), (SLIGHT, f"no shift of any size; {SLIGHT}")):
        if verdict in found:
            named = [shift.trait for shift in shifts if shift.verdict == verdict]
            return f"{lead}: {', '.join(named)}"
    return CHANCE if CHANCE in found else UNKNOWN


def tell(p_value: float) -> str:
    """A p-value, as it is written in a sentence."""
    return f"{p_value:.2g}" if p_value >= 1e-4 else "under 0.0001"
