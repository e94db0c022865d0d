"""Slices: whether a model that is good in total has fallen somewhere."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetuning.pairing import compare, weigh_fall
from finetuning.predictions import NOTHING
from finetuning.statistics import adjust_holm
from finetuning.verdicts import Evidence, SliceVerdict

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Gate
    from finetuning.measures import Measure

FEWEST_ROWS = 30  # a slice with fewer rows is shown, and judges nothing


def judge_slices(
    evidence: Evidence,
    champion: pandas.DataFrame,
    gate: Gate,
    measure: Measure,
) -> tuple[SliceVerdict, ...]:
    """Every value of every slice column: whether it fell by more than the limit.

    A slice falls where its p-value, corrected for the number of slices judged (Holm 1979), is below
    alpha. Alpha is not spent here: it is the chance to refuse a model wrongly, which is the side to
    err on, and does not grow from challenger to challenger.
    """
    found = []
    for column in evidence.slices.columns:
        values = evidence.candidate[column].fillna(NOTHING).astype(str)
        for value in sorted(values.unique()):
            rows = (values == value).to_numpy()
            both = evidence.candidate[rows], champion[rows]
            paired = compare(measure, *both, gate.alpha / 2)
            judged = paired.rows >= FEWEST_ROWS
            p_value = weigh_fall(measure, *both, gate.slices.max_drop) if judged else None
            found.append(SliceVerdict(column, value, paired, judged, p_value))
    weighed = [one.p_value for one in found if one.p_value is not None]
    adjusted = iter(adjust_holm(weighed))
    return tuple(
        SliceVerdict(one.column, one.value, one.paired, True, one.p_value, holm, holm < gate.alpha)
        if one.p_value is not None and (holm := next(adjusted)) is not None
        else one
        for one in found
    )
