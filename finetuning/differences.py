"""What differs between two states of a data set, and between two flat records, in plain words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas

EXAMPLES = 3  # rows shown of each kind
LONGEST_EXAMPLE = 80  # characters
ALPHA = 0.01  # a shift is called one where chance alone would show it less often than this
FEW = 1_000_000  # pairs of rows up to which a p-value is exact: its limit fails for a few rows
LEAST_EXPECTED = 5  # rows a cell for which the chi-squared approximation holds (Cochran 1954)


@dataclass(frozen=True)
class Change:
    """One value that two records do not share."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {_show(self.before)} -> {_show(self.after)}"


@dataclass(frozen=True)
class RowChanges:
    """What became of the rows, told by their normalised texts.

    Attributes:
        before: Number of rows then.
        after: Number of rows now.
        added: Rows whose text is new, or stands more often than before.
        removed: Likewise, gone.
        relabelled: Rows whose text stayed and whose label did not.
        moved: Texts that are in another split now.
        examples: For added, removed and relabelled, the first few, as text and label(s).
    """

    before: int
    after: int
    added: int
    removed: int
    relabelled: int
    moved: int
    examples: dict[str, list[str]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.relabelled or self.moved)


@dataclass(frozen=True)
class LabelShift:
    """Shares of the labels before and after, and how likely chance alone is.

    Attributes:
        before: Label -> share of the rows.
        after: Likewise.
        p_value: Pearson's chi-squared test that both come from one distribution; None where there
            is too little to test.
    """

    before: dict[str, float]
    after: dict[str, float]
    p_value: float | None

    @property
    def is_shift(self) -> bool:
        """Whether chance alone would hardly show this."""
        return self.p_value is not None and self.p_value < ALPHA


@dataclass(frozen=True)
class LengthShift:
    """Medians of the texts' lengths in characters, and how likely chance alone is.

    Attributes:
        before: Median length then.
        after: Median length now.
        p_value: Two-sample Kolmogorov-Smirnov test; None where one side is empty.
    """

    before: float
    after: float
    p_value: float | None

    @property
    def is_shift(self) -> bool:
        """Whether chance alone would hardly show this."""
        return self.p_value is not None and self.p_value < ALPHA


def compare_rows(before: pandas.DataFrame, after: pandas.DataFrame) -> RowChanges:
    """Match two tables' rows by the digest of their text.

    Args:
        before: Rows with columns key, text, label and split.
        after: Likewise.
    """
    former, latter = _group(before), _group(after)
    added, removed, relabelled = Counter[str](), Counter[str](), Counter[str]()
    for key in former.keys() | latter.keys():
        then, now = former.get(key, Counter()), latter.get(key, Counter())
        kept = (then & now).total()
        added[key] = max(0, now.total() - then.total())
        removed[key] = max(0, then.total() - now.total())
        relabelled[key] = min(then.total(), now.total()) - kept
    places = dict(zip(before["key"], before["split"], strict=True))
    moved = {
        key
        for key, split in zip(after["key"], after["split"], strict=True)
        if places.get(key, split) != split
    }
    examples = {
        "added": _pick(after, +added, latter, None),
        "removed": _pick(before, +removed, former, None),
        "relabelled": _pick(before, +relabelled, former, latter),
    }
    return RowChanges(
        before=len(before),
        after=len(after),
        added=added.total(),
        removed=removed.total(),
        relabelled=relabelled.total(),
        moved=len(moved),
        examples=examples,
    )


def _group(rows: pandas.DataFrame) -> dict[str, Counter[str]]:
    """Key -> how often it stands with each label."""
    groups: dict[str, Counter[str]] = {}
    for key, label in zip(rows["key"], rows["label"].fillna(""), strict=True):
        groups.setdefault(key, Counter())[label] += 1
    return groups


def _pick(
    rows: pandas.DataFrame,
    wanted: Counter[str],
    then: Mapping[str, Counter[str]],
    now: Mapping[str, Counter[str]] | None,
) -> list[str]:
    """The first rows, in the table's order, whose key is wanted."""
    chosen = rows[rows["key"].isin(wanted.keys())].drop_duplicates("key").head(EXAMPLES)
    shown = []
    for key, text in zip(chosen["key"], chosen["text"].fillna(""), strict=True):
        labels = "/".join(sorted(then[key]))
        if now is not None:
            labels += f" -> {'/'.join(sorted(now[key]))}"
        shown.append(f"{_shorten(str(text))!r} ({labels})")
    return shown


def find_added(before: pandas.DataFrame, after: pandas.DataFrame) -> pandas.DataFrame:
    """The rows of `after` whose text stands nowhere in `before`."""
    return after[~after["key"].isin(set(before["key"]))]


def compare_labels(before: pandas.DataFrame, after: pandas.DataFrame) -> LabelShift:
    """Test whether the labels of two tables come from one distribution.

    Pearson's chi-squared test of homogeneity (`scipy.stats.chi2_contingency`). Labels that are too
    rare for it are taken together. Rows that both tables share make it cautious: it then finds
    less than there is.
    """
    from scipy.stats import chi2_contingency

    counts = [_count(table["label"]) for table in (before, after)]
    labels = sorted({*counts[0], *counts[1]})
    table = np.array([[count[label] for label in labels] for count in counts], dtype=float)
    shares = [
        {label: float(value / max(row.sum(), 1)) for label, value in zip(labels, row, strict=True)}
        for row in table
    ]
    p_value = None
    if table.sum(axis=1).min(initial=np.inf) > 0:
        expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
        common = expected.min(axis=0) >= LEAST_EXPECTED
        pooled = np.column_stack([table[:, common], table[:, ~common].sum(axis=1)])
        pooled = pooled[:, pooled.sum(axis=0) > 0]
        if common.any() and pooled.shape[1] > 1:
            p_value = float(chi2_contingency(pooled, correction=False).pvalue)
    return LabelShift(shares[0], shares[1], p_value)


def _count(labels: pandas.Series) -> Counter[str]:
    return Counter(labels.fillna("(none)"))


def compare_lengths(before: pandas.DataFrame, after: pandas.DataFrame) -> LengthShift:
    """Test whether the texts of two tables are equally long.

    Two-sample Kolmogorov-Smirnov test on the lengths in characters (`scipy.stats.ks_2samp`), which
    sees a change of spread as well as one of the middle; ties make it cautious.
    """
    from scipy.stats import ks_2samp

    then, now = (table["text"].fillna("").str.len().to_numpy(float) for table in (before, after))
    medians = [float(np.median(lengths)) if len(lengths) else 0.0 for lengths in (then, now)]
    p_value = None
    if len(then) and len(now):
        method = "exact" if len(then) * len(now) <= FEW else "asymp"
        p_value = float(ks_2samp(then, now, method=method).pvalue)
    return LengthShift(medians[0], medians[1], p_value)


def compare_values(
    before: Mapping[str, Any], after: Mapping[str, Any], ignored: Sequence[str] = ()
) -> list[Change]:
    """The keys at which two flat mappings differ, in order; None where one lacks the key."""
    return [
        Change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after} - set(ignored))
        if before.get(key) != after.get(key)
    ]


def describe_labels(shift: LabelShift) -> str:
    """One sentence: whether the labels shifted, and which moved most."""
    moves = {label: shift.after[label] - shift.before[label] for label in shift.after}
    label = max(moves, key=lambda name: abs(moves[name]), default=None)
    if shift.p_value is None or label is None:
        return "labels: too little to compare"
    share = f"{label} {shift.before[label]:.1%} -> {shift.after[label]:.1%}"
    if not shift.is_shift:
        return f"labels: no shift (largest change: {share}; p = {_tell(shift.p_value)})"
    return f"labels: shifted, most of all {share} (chi-squared test, p = {_tell(shift.p_value)})"


def describe_lengths(shift: LengthShift) -> str:
    """One sentence: whether the texts became longer or shorter."""
    medians = f"median {shift.before:g} -> {shift.after:g} characters"
    if shift.p_value is None:
        return "lengths: too little to compare"
    if not shift.is_shift:
        return f"lengths: no shift ({medians}; p = {_tell(shift.p_value)})"
    return f"lengths: shifted, {medians} (Kolmogorov-Smirnov test, p = {_tell(shift.p_value)})"


def _tell(p_value: float) -> str:
    return f"{p_value:.2g}" if p_value >= 1e-4 else "under 0.0001"


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "(absent)" if value is None else _shorten(text)


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[: LONGEST_EXAMPLE - 3]}..."
