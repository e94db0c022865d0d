"""The gate: whether a model may take the champion's place, by evidence on the same rows.

Everything is one-sided and said so: `alpha` is the chance that, of all challengers that the same
test rows ever judge, any is let through that is not what the policy asks for. Each challenger
spends a share of it (`spend`); its interval has the confidence 1 - 2 * level, so the first one's
at alpha 0.05 is the usual 95% interval.

`not_worse` bounds one step, not a chain: champions that each lose a little less than the margin
can drift down together. The floor does not move, and ends that.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from finetuning.pairing import compare
from finetuning.slices import FEWEST_ROWS, judge_slices
from finetuning.statistics import SEED
from finetuning.verdicts import Evidence, SliceVerdict, Verdict, write_paired

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Gate
    from finetuning.measures import Measure
    from finetuning.pairing import Paired

TOLERANCE = 1e-5  # how far an answer of the loaded model may be from the logged one
STEADY = 0.98  # from one later challenger to the next, the evenly spent part of alpha
MOST_TIMES = 1000  # by which a margin may be too small and the rows it takes are still told


@dataclass
class _Findings:
    """Sentences as they are found, those that refuse apart."""

    refusals: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def say(self, passed: bool, sentence: str) -> None:
        (self.remarks if passed else self.refusals).append(sentence)


def spend(alpha: float, judged: int) -> float:
    """The one-sided level of the next challenger on rows that have judged some before.

    The k-th spends alpha times: 1/2 for k = 1; then 1/(2k(k+1)), which favours the next few, and
    (1 - STEADY)/4 * STEADY^(k-2), which keeps power for late ones. The shares of all k add up to 1,
    so by Bonferroni's inequality alpha holds for the whole sequence, also where each challenger was
    made in the knowledge that those before it were refused (alpha spending: Lan and DeMets 1983;
    reuse of a test set by its verdicts: Blum and Hardt 2015, arXiv 1502.04585).
    """
    number = judged + 1
    if number == 1:
        return alpha / 2
    early = 1 / (2 * number * (number + 1))
    return alpha * (early + (1 - STEADY) / 4 * STEADY ** (number - 2))


def judge(evidence: Evidence, gate: Gate, measure: Measure) -> Verdict:
    """Hold a candidate against the floor, the champion, its slices, behaviour tests and serving.

    A metric or slice that is missing is a refusal. Without a champion there is no comparison.

    Args:
        evidence: What was measured.
        gate: The pipeline file's `gate`.
        measure: What the gate's metric is.
    """
    found = _Findings()
    table, champion = evidence.candidate, evidence.champion
    value = _measure(measure, table)
    _judge_floor(found, gate, measure, value, len(table))
    numbers: dict[str, Any] = {}
    for column in evidence.slices.missing:
        found.say(False, f"the slice {column} is missing: what was not measured is refused")
    if champion is not None and value is not None:
        if _measure(measure, champion) is None:
            found.say(False, f"the champion's {measure.name} was not measured, so nothing is shown")
        else:
            numbers = _judge_against(found, evidence, champion, gate, measure)
    elif champion is None:
        found.say(True, evidence.why_alone)
    _judge_behaviour(found, evidence)
    _judge_serving(found, evidence, gate)
    about = dict(evidence.about)
    return Verdict(
        promote=not found.refusals,
        metric=measure.name,
        value=value,
        minimum=gate.minimum,
        rows=len(table),
        rows_digest=about.pop("rows_digest", None),
        reasons=(*found.refusals, *found.remarks),
        numbers={
            "difference": None, "interval": None, "p_value": None,
            "policy": gate.against_champion, "margin": gate.margin, "alpha": gate.alpha,
            "max_drop": gate.slices.max_drop, "latency_limit_ms": gate.latency_ms,
            "score_tolerance": TOLERANCE, "fewest_slice_rows": FEWEST_ROWS,
            "judged_before": evidence.judged, "slices": [], "apart": [],
            "slices_missing": list(evidence.slices.missing),
            "not_slices": dict(evidence.slices.passed_over),
            **numbers,
            "behaviour": [result.to_json() for result in evidence.behaviour],
            "serving": None if evidence.serving is None else asdict(evidence.serving),
            **about,
        },
    )  # fmt: skip


def _measure(measure: Measure, table: pandas.DataFrame) -> float | None:
    if len(table) == 0 or any(column not in table.columns for column in measure.columns):
        return None
    value = measure.compute(table)
    return value if math.isfinite(value) else None


def _judge_floor(
    found: _Findings, gate: Gate, measure: Measure, value: float | None, rows: int
) -> None:
    if value is None:
        said = f"test/{measure.name} was not measured: a missing metric is a refusal"
        found.say(False, said)
        return
    said = f"{measure.name} {value:.4f} on {rows} test rows"
    if gate.minimum is None:
        found.say(True, f"{said}; no {'ceiling' if measure.lower_is_better else 'floor'} is set")
    elif measure.lower_is_better:
        passed = value <= gate.minimum
        found.say(
            passed, f"{said} {'keeps' if passed else 'is above'} the ceiling {gate.minimum:g}"
        )
    else:
        passed = value >= gate.minimum
        found.say(
            passed, f"{said} {'reaches' if passed else 'is below'} the floor {gate.minimum:g}"
        )


def _judge_against(
    found: _Findings,
    evidence: Evidence,
    champion: pandas.DataFrame,
    gate: Gate,
    measure: Measure,
) -> dict[str, Any]:
    table, level = evidence.candidate, spend(gate.alpha, evidence.judged)
    paired = compare(measure, table, champion, level)
    if evidence.judged:
        found.say(
            True,
            f"these test rows have judged {evidence.judged} "
            f"{'challenger' if evidence.judged == 1 else 'challengers'} before, so of alpha "
            f"{gate.alpha:g} this one spends {level:.2g}",
        )
    if gate.against_champion == "better":
        _judge_better(found, paired, level)
    else:
        _judge_not_worse(found, paired, gate.margin, level)
    slices = judge_slices(evidence, champion, gate, measure)
    for one in slices:
        _say_slice(found, one, gate)
    half = gate.alpha / 2
    alone = {name: rows for name, rows in evidence.apart.items() if rows.any()}
    apart = [
        {"name": name, **write_paired(compare(measure, table[rows], champion[rows], half))}
        for name, rows in alone.items()
    ]
    return {
        "champion_value": paired.champion,
        "difference": paired.difference,
        "interval": [paired.low, paired.high],
        "confidence": 1 - 2 * level,
        "level": level,
        "p_value": paired.p_value,
        "test": paired.test,
        "draws": paired.draws,
        "seed": None if paired.draws is None else SEED,
        "slices": [one.to_json() for one in slices],
        "apart": apart,
    }


def _judge_better(found: _Findings, paired: Paired, level: float) -> None:
    above, unlikely = paired.low > 0, paired.p_value < 2 * level
    said = _describe(paired, level)
    if above and unlikely:
        found.say(True, f"{said}: better")
    elif above:
        # The two agree but at the edge, where neither is exact: the stricter one counts.
        found.say(False, f"{said}: the interval is above 0, but p is not below {2 * level:.2g}")
    else:
        found.say(False, f"{said}: not shown to be better, for that the interval must be above 0")


def _judge_not_worse(found: _Findings, paired: Paired, margin: float, level: float) -> None:
    said = _describe(paired, level)
    if paired.low > -margin:
        found.say(True, f"{said}: not worse by the margin {margin:g}")
        return
    found.say(
        False,
        f"{said}: that it is not worse by {margin:g} is not shown, "
        f"for that the interval must be above {-margin:g}",
    )
    reach = paired.difference - paired.low
    if reach > margin > 0:
        times = reach / margin
        # A margin far below what rows can tell would ask for more of them than a number can say.
        needed = (
            f"about {math.ceil(paired.rows * times**2)} test rows"
            if times <= MOST_TIMES
            else f"more than {MOST_TIMES**2:,} times as many test rows"
        )
        found.say(
            True,
            f"on these {paired.rows} rows not even an equal score would show it: "
            f"that takes a margin above {reach:.2g}, or {needed}",
        )


def _describe(paired: Paired, level: float) -> str:
    side = "better" if paired.difference >= 0 else "worse"
    return (
        f"{abs(paired.difference):.4f} {side} than the champion's {paired.champion:.4f} "
        f"({100 * (1 - 2 * level):.4g}% interval {paired.low:+.4f} to {paired.high:+.4f}, "
        f"p = {paired.p_value:.2g}, {paired.test})"
    )


def _say_slice(found: _Findings, one: SliceVerdict, gate: Gate) -> None:
    limit, fall = gate.slices.max_drop, -one.paired.difference
    if fall <= limit:
        return
    said = f"{one.column} = {one.value} fell by {fall:.4f} on {one.paired.rows} rows"
    if one.fell:
        found.say(False, f"{said}, more than the limit {limit:g} (p = {one.adjusted:.2g}, Holm)")
    elif one.judged:
        found.say(
            True,
            f"{said}; that it is more than the limit {limit:g} may be chance "
            f"(p = {one.adjusted:.2g}, Holm)",
        )
    else:
        found.say(True, f"{said}, too few to be judged")


def _judge_behaviour(found: _Findings, evidence: Evidence) -> None:
    for result in evidence.behaviour:
        said = f"behaviour test '{result.name}': {result.passed} of {result.cases} cases passed"
        if result.ok:
            found.say(True, said)
        else:
            first = f", first {result.failures[0]}" if result.failures else ""
            found.say(False, f"{said}, {result.required:.0%} must{first}")


def _judge_serving(found: _Findings, evidence: Evidence, gate: Gate) -> None:
    serving = evidence.serving
    if serving is None:
        return
    if serving.error is not None:
        said = f"loaded in a fresh process, the model did not answer: {serving.error}"
        found.say(False, said)
        return
    same = serving.different == 0 and serving.apart <= TOLERANCE
    said = f"loaded in a fresh process, it answers {serving.rows} rows"
    if same:
        found.say(True, f"{said} as logged (scores within {serving.apart:.1g})")
    else:
        found.say(
            False,
            f"{said} otherwise than logged: {serving.different} other labels, scores up to "
            f"{serving.apart:.2g} apart, where {TOLERANCE:g} is allowed",
        )
    if serving.latency_ms is not None:
        said = f"one row takes {serving.latency_ms:.1f} ms (median)"
        if gate.latency_ms is None:
            found.say(True, said)
        else:
            found.say(
                serving.latency_ms <= gate.latency_ms, f"{said}, the budget is {gate.latency_ms:g}"
            )
