"""The gate: floors, both policies, slices, behaviour, serving, and what is refused unmeasured."""

import json
import math

import numpy as np
import pandas
import pytest

from finetuning.behaviour import BehaviourResult
from finetuning.config import Gate
from finetuning.gate import judge, spend
from finetuning.measures import find_measure
from finetuning.predictions import Slices
from finetuning.statistics import SEED
from finetuning.verdicts import Evidence, Serving

NO_SLICES = Slices(())
GOOD = Serving(rows=100, different=0, apart=2e-7, latency_ms=12.0)


def gate(**fields):
    """A gate as the pipeline file would give it."""
    return Gate.model_validate(fields)


def table(right, **columns):
    """A prediction table of the rows that are right."""
    right = np.asarray(right, bool)
    return pandas.DataFrame({"label": "yes", "prediction": np.where(right, "yes", "no"), **columns})


def tables(both, candidate_only, champion_only, neither):
    """A candidate's and a champion's table from the four counts."""
    counts = (both, candidate_only, champion_only, neither)
    return (
        table(np.repeat([1, 1, 0, 0], counts)),
        table(np.repeat([1, 0, 1, 0], counts)),
    )


def decide(evidence, metric="accuracy", **fields):
    """The verdict on some evidence."""
    return judge(evidence, gate(**fields), find_measure(metric))


def compare(counts, judged=0, **fields):
    """The verdict on two models given by their four counts."""
    return decide(Evidence(*tables(*counts), NO_SLICES, judged), **fields)


@pytest.mark.parametrize(
    ("minimum", "promote"),
    [(0.9, True), (0.5, True), (math.nextafter(0.9, 1), False), (1.0, False), (None, True)],
)
def test_floor_of_a_first_model(minimum, promote):
    """Exactly at the floor passes, just below does not, and no floor is no refusal."""
    alone = table(np.repeat([1, 0], [90, 10]))
    verdict = decide(Evidence(alone, None, NO_SLICES, about={"rows_digest": "d"}), minimum=minimum)
    assert verdict.promote is promote
    assert (verdict.value, verdict.minimum, verdict.rows) == (0.9, minimum, 100)
    assert verdict.rows_digest == "d"
    expected = "no floor" if minimum is None else "reaches" if promote else "is below"
    assert expected in verdict.reasons[0]
    assert "there is no champion to compare with" in verdict.reasons


def test_ceiling_where_less_is_better():
    """For a perplexity the minimum is the most it may be."""
    losses = table([1, 1], loss=[math.log(4.0)] * 2)
    for minimum, promote in ((4.1, True), (3.9, False)):
        rules = Gate.model_construct(**dict(gate()) | {"minimum": minimum})
        verdict = judge(Evidence(losses, None, NO_SLICES), rules, find_measure("perplexity"))
        assert verdict.promote is promote
        assert "ceiling" in verdict.reasons[0]


def test_floor_holds_however_much_better_the_candidate_is():
    """Far above the champion and below the floor is refused."""
    verdict = compare((300, 300, 0, 400), against_champion="better", minimum=0.7)
    assert not verdict.promote
    assert verdict.reasons[0].startswith("accuracy 0.6000 on 1000 test rows is below the floor 0.7")


@pytest.mark.parametrize(
    ("metric", "columns"),
    [("f1", {}), ("f1", {"f1": [math.nan, 1.0]}), ("perplexity", {"loss": [math.inf, 0.0]})],
)
def test_not_measured(metric, columns):
    """A metric that is missing or no finite number is a refusal, without any floor."""
    verdict = decide(Evidence(table([1, 1], **columns), None, NO_SLICES), metric)
    assert not verdict.promote
    assert verdict.value is None
    assert f"test/{metric} was not measured" in verdict.reasons[0]


def test_champion_not_measured():
    """What the champion's table lacks cannot be compared: a refusal."""
    candidate = table([1, 1], f1=[0.5, 1.0])
    verdict = decide(Evidence(candidate, table([1, 1]), NO_SLICES), "f1")
    assert not verdict.promote
    assert "champion's f1 was not measured" in verdict.reasons[0]


def test_better_needs_evidence():
    """Five points on 1,000 rows are evidence; half a point, no difference and a loss are not."""
    assert compare((820, 80, 30, 70), against_champion="better").promote
    for counts in ((840, 30, 25, 105), (840, 25, 25, 110), (840, 25, 60, 75)):
        verdict = compare(counts, against_champion="better")
        assert not verdict.promote
        assert "not shown to be better" in verdict.reasons[0]


def test_better_asks_for_both_the_interval_and_the_p_value():
    """Where the interval is above 0 and p is not small enough, the stricter one counts."""
    # Six rows to none: Newcombe's interval is above 0, exact McNemar's p is 2 / 2^6 = 0.031.
    assert compare((60, 6, 0, 34), against_champion="better").promote
    verdict = compare((60, 5, 0, 35), against_champion="better")  # p = 2 / 2^5 = 0.0625
    assert verdict.numbers["interval"][0] > 0
    assert "the interval is above 0, but p is not below 0.05" in verdict.reasons[0]
    assert not verdict.promote


def test_not_worse_is_a_bound_on_the_loss():
    """An equal score passes a margin that the rows can tell, and not one that they cannot."""
    counts = (8500, 250, 250, 1000)
    assert compare(counts, against_champion="not_worse", margin=0.005).promote
    verdict = compare(counts, against_champion="not_worse", margin=0.003)
    assert not verdict.promote
    assert "takes a margin above 0.0044" in " ".join(verdict.reasons)
    worse = compare((8400, 100, 250, 1250), against_champion="not_worse", margin=0.01)
    assert not worse.promote
    assert worse.numbers["difference"] == pytest.approx(-0.015)


def test_same_model_again_is_not_worse_and_not_better():
    """Equal answers on every row."""
    assert compare((900, 0, 0, 100), against_champion="not_worse", margin=0.005).promote
    assert not compare((900, 0, 0, 100), against_champion="better").promote


def test_alpha_is_spent_and_never_overspent():
    """The first challenger has half of alpha, and all that may ever come have alpha together."""
    assert spend(0.05, 0) == 0.025
    assert spend(0.05, 1) == pytest.approx(0.05 * (1 / 12 + 0.005))
    levels = [spend(0.05, judged) for judged in range(20_000)]
    assert levels == sorted(levels, reverse=True)
    assert 0.04999 < sum(levels) <= 0.05


def test_worn_rows_ask_for_more():
    """What a first challenger passes with, the fiftieth on the same rows does not."""
    counts = (820, 60, 35, 85)
    first, late = (compare(counts, judged, against_champion="better") for judged in (0, 49))
    assert first.promote
    assert not late.promote
    assert first.numbers["confidence"] == pytest.approx(0.95)
    assert late.numbers["judged_before"] == 49
    assert late.numbers["level"] == spend(0.05, 49)
    assert late.numbers["interval"][0] < first.numbers["interval"][0]
    assert any("have judged 49 challengers before" in reason for reason in late.reasons)


def with_slices(fallen, rest=1800, small=0):
    """A candidate better in total, whose slice `a` of 200 rows lost `fallen` right answers."""
    slices = np.repeat(["a", "b", "c"], [200, rest, small])
    champion = np.concatenate([np.ones(200), np.zeros(300), np.ones(rest - 300), np.ones(small)])
    candidate = np.concatenate([np.zeros(fallen), np.ones(200 - fallen), np.ones(rest)])
    candidate = np.concatenate([candidate, np.zeros(small)])
    pair = table(candidate, source=slices), table(champion, source=slices)
    return decide(Evidence(*pair, Slices(("source",))), against_champion="better")


def test_fallen_slice_refuses_a_better_model():
    """A slice that fell from 1.0 to 0.8 is a refusal, though the total rose by 13 points."""
    verdict = with_slices(fallen=40)
    assert verdict.numbers["difference"] == pytest.approx(0.13)
    assert not verdict.promote
    assert verdict.reasons[0].startswith("source = a fell by 0.2000 on 200 rows, more than")
    by_value = {one["value"]: one for one in verdict.numbers["slices"]}
    assert by_value["a"]["fell"]
    assert not by_value["b"]["fell"]
    assert by_value["a"]["fall_p_value_holm"] == pytest.approx(2 * by_value["a"]["fall_p_value"])


def test_fall_that_chance_explains_is_said_and_not_refused():
    """A slice that fell by 4 points on 200 rows, where 3 are allowed, may be chance."""
    verdict = with_slices(fallen=8)
    assert verdict.promote
    assert any(
        "fell by 0.0400" in reason and "may be chance" in reason for reason in verdict.reasons
    )
    assert with_slices(fallen=0).promote


def test_small_slice_is_shown_and_does_not_judge():
    """Ten rows that all fell are told, with no p-value."""
    verdict = with_slices(fallen=0, small=10)
    assert verdict.promote
    small = verdict.numbers["slices"][-1]
    assert (small["rows"], small["judged"], small["fall_p_value"]) == (10, False, None)
    assert any("too few to be judged" in reason for reason in verdict.reasons)


def test_missing_slice_is_a_refusal():
    """A slice that was declared or that the champion has, and that was not measured."""
    verdict = decide(Evidence(table([1, 1]), None, Slices((), missing=("source",))))
    assert not verdict.promote
    assert "the slice source is missing" in verdict.reasons[0]


def test_holm_protects_a_good_model_with_many_slices():
    """Of 40 slices whose differences are chance, in 15 trials hardly a model is refused."""
    generator = np.random.default_rng(0)
    refused = 0
    names = np.repeat([f"s{number}" for number in range(40)], 50)
    for _ in range(15):
        pair = (table(generator.random(2000) < 0.8, source=names) for _ in range(2))
        verdict = decide(Evidence(*pair, Slices(("source",))), margin=0.5)
        refused += not verdict.promote
    assert refused <= 2  # uncorrected, about 10 would be


def test_rows_that_changed_are_shown_apart():
    """Groups of rows have their own difference; an empty group is left out."""
    candidate, champion = tables(80, 10, 0, 10)
    new = np.arange(100) >= 90
    apart = {"new since": new, "as before": ~new, "relabelled since": np.zeros(100, bool)}
    verdict = decide(Evidence(candidate, champion, NO_SLICES, apart=apart))
    assert [(one["name"], one["rows"]) for one in verdict.numbers["apart"]] == [
        ("new since", 10),
        ("as before", 90),
    ]
    assert verdict.numbers["apart"][1]["difference"] == pytest.approx(10 / 90)


@pytest.mark.parametrize(
    ("serving", "said"),
    [
        (Serving(0, 0, 0.0, None, "ImportError: no module"), "did not answer: ImportError"),
        (Serving(100, 1, 0.0, 5.0), "1 other labels"),
        (Serving(100, 0, 2e-5, 5.0), "otherwise than logged"),
        (Serving(100, 0, 0.0, 51.0), "the budget is 50"),
    ],
)
def test_model_that_is_not_what_was_judged_is_refused(serving, said):
    """It must load, answer as logged within 1e-5, and in time."""
    verdict = decide(Evidence(table([1]), None, NO_SLICES, serving=serving), latency_ms=50)
    assert not verdict.promote
    assert said in verdict.reasons[0]


def test_model_that_answers_as_logged_passes():
    """Within 1e-5 and within the budget; without a budget any time."""
    alone = Evidence(table([1]), None, NO_SLICES, serving=GOOD)
    assert decide(alone, latency_ms=12.0).promote
    assert decide(alone).promote


def test_behaviour_is_asked_beside_the_metric():
    """A perfect score with a failed behaviour test is a refusal that quotes the case."""
    failed = BehaviourResult("negation", "minimum-functionality", 4, 3, 1.0, ("'not bad' is bad",))
    verdict = decide(Evidence(table([1]), None, NO_SLICES, behaviour=(failed,)))
    assert not verdict.promote
    assert (
        "'negation': 3 of 4 cases passed, 100% must, first 'not bad' is bad" in verdict.reasons[0]
    )
    enough = BehaviourResult("negation", "minimum-functionality", 4, 3, 0.75, ())
    assert decide(Evidence(table([1]), None, NO_SLICES, behaviour=(enough,))).promote


def test_a_verdict_can_be_computed_again():
    """Where a bootstrap decided, its draws and seed stand in the verdict, beside each threshold."""
    counts = (300, 40, 10, 50)
    drawn = compare(counts, judged=3, metric="macro_f1").numbers
    # The fourth challenger spends 0.05 x (1/40 + 0.005 x 0.98^2); ten draws lie beyond a bound.
    assert drawn["level"] == pytest.approx(0.05 * (1 / 40 + 0.005 * 0.98**2))
    assert drawn["draws"] == math.ceil(10 / drawn["level"])
    assert (drawn["seed"], drawn["score_tolerance"]) == (SEED, 1e-5)
    assert drawn["fewest_slice_rows"] == 30
    exact = compare(counts).numbers
    assert (exact["draws"], exact["seed"]) == (None, None)


def test_verdict_as_json():
    """Strict JSON with every number and threshold; about's versions stand in it."""
    candidate, champion = tables(80, 10, 5, 5)
    evidence = Evidence(
        candidate, champion, NO_SLICES, serving=GOOD, about={"champion": {"model_version": "3"}}
    )
    read = json.loads(json.dumps(decide(evidence, minimum=0.5).to_json(), allow_nan=False))
    assert {
        "promote", "difference", "interval", "p_value", "slices", "reasons", "rows_digest", "alpha",
        "level", "margin", "policy", "minimum", "max_drop", "judged_before", "behaviour", "serving",
        "champion_value", "test",
    } <= read.keys()  # fmt: skip
    assert read["champion"]["model_version"] == "3"
    assert read["value"] == 0.9
    assert read["champion_value"] == 0.85
