"""Comparisons: means, spreads, certainty and extrapolation against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from finetuning.comparisons import (
    Trial,
    choose,
    describe_choice,
    find_crossing,
    fit_law,
    measure,
    summarise,
)


def make(strategy, size, scores, seconds=10.0):
    """Trials of a strategy at a size, one score a seed."""
    return [
        Trial(strategy, size, seed, score, 7, seconds, 1000 + seed)
        for seed, score in enumerate(scores)
    ]


def predict(right, rows=1000):
    """Predictions of rows that are all of class 1: the first ones right."""
    return (np.arange(rows) < right).astype(np.int64)


def test_summary_by_hand():
    """Mean, standard deviation, bounds, mean seconds and largest memory of three seeds."""
    (cell,) = summarise(make("full", 100, [0.7, 0.8, 0.9]))
    assert (cell.seeds, cell.low, cell.high, cell.memory) == (3, 0.7, 0.9, 1002)
    assert (cell.mean, cell.spread, cell.seconds) == pytest.approx((0.8, 0.1, 10.0))
    assert summarise(make("full", 100, [0.7]))[0].spread is None


def test_a_clear_lead_is_sure():
    """Ahead by a tenth with every seed on a thousand rows: the interval excludes zero."""
    trials = (
        make("full", 9, [0.2, 0.2]) + make("full", 50, [0.8, 0.8]) + make("head", 50, [0.7] * 2)
    )
    rows = {("full", seed): predict(800) for seed in (0, 1)}
    rows |= {("head", seed): predict(700) for seed in (0, 1)}
    choice = choose(trials, rows, np.ones(1000, np.int64), "accuracy", 2)
    assert (choice.strategy, choice.runner_up, choice.size) == ("full", "head", 50)
    assert choice.difference == pytest.approx(0.1)
    assert 0.07 < choice.interval[0] < 0.1 < choice.interval[1] < 0.13
    assert choice.sure
    said = describe_choice(choice, summarise(trials), "accuracy")
    assert said.startswith("With 50 rows this data deserves full: validation accuracy 0.800")
    assert said.endswith("a lead that is sure: it holds with every seed.")


@pytest.mark.parametrize(
    "case", ["one seed", "seeds disagree", "few rows differ"],
)  # fmt: skip
def test_an_unclear_lead_is_not(case):
    """A single seed, a seed that says the contrary, or too few rows: the sentence says so."""
    hits = {
        "one seed": ([800], [700]),
        "seeds disagree": ([800, 690], [700, 700]),
        "few rows differ": ([701, 701], [700, 700]),
    }[case]
    trials = [
        *make("full", 50, [one / 1000 for one in hits[0]], seconds=60.0),
        *make("head", 50, [one / 1000 for one in hits[1]], seconds=6.0),
    ]
    rows = {("full", seed): predict(right) for seed, right in enumerate(hits[0])}
    rows |= {("head", seed): predict(right) for seed, right in enumerate(hits[1])}
    choice = choose(trials, rows, np.ones(1000, np.int64), "accuracy", 2)
    assert choice.strategy == "full"
    assert not choice.sure
    said = describe_choice(choice, summarise(trials), "accuracy")
    assert "that lead is not sure" in said
    assert said.endswith("head took 10.0 times less time.")


def test_ties_go_to_the_faster():
    """Equal means: the cheaper strategy is chosen."""
    trials = make("full", 5, [0.5, 0.5], 9.0) + make("head", 5, [0.5, 0.5], 1.0)
    rows = {(kind, seed): predict(500) for kind in ("full", "head") for seed in (0, 1)}
    choice = choose(trials, rows, np.ones(1000, np.int64), "accuracy", 2)
    assert (choice.strategy, choice.sure) == ("head", False)


def test_a_strategy_alone():
    """Nothing to compare with is said, and is never sure."""
    trials = make("full", 5, [0.5, 0.6])
    choice = choose(trials, {}, np.ones(3, np.int64), "accuracy", 2)
    assert (choice.runner_up, choice.sure) == (None, False)
    assert "nothing else was compared" in describe_choice(choice, summarise(trials), "accuracy")


def test_measures_by_hand():
    """Three of four right; macro F1 is the mean of 2/3 and 4/5."""
    labels, predictions = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    assert measure("accuracy", labels, predictions, 2) == 0.75
    assert measure("macro_f1", labels, predictions, 2) == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_power_law_is_found_again():
    """Errors made by a law give its numbers back."""
    law = fit_law([100, 1000, 5000], [3 * size**-0.4 for size in (100, 1000, 5000)])
    assert (law.scale, law.slope) == pytest.approx((3, 0.4))
    assert law.error(10_000) == pytest.approx(3 * 10_000**-0.4)


def curves(scratch, other, sizes=(100, 400, 1600)):
    """Cells of two learning curves."""
    return summarise(
        [
            trial
            for size in sizes
            for name, law in (("scratch", scratch), ("full", other))
            for trial in make(name, size, [1 - law(size)])
        ]
    )


def test_crossing_where_the_laws_meet():
    """4 n^-0.5 and n^-0.3 meet where n^0.2 = 4... at 1024 rows; with 5 in place of 4 at 3125."""
    crossing = find_crossing(curves(lambda n: 5 * n**-0.5, lambda n: n**-0.3), 10_000)
    assert crossing.rows == pytest.approx(3125)
    assert "about 3,125 rows" in crossing.sentence
    measured = find_crossing(curves(lambda n: 4 * n**-0.5, lambda n: n**-0.3), 10_000)
    assert measured.rows == 1600
    assert "From 1,600 rows on" in measured.sentence


def test_crossing_out_of_reach():
    """n^0.2 = 10 is at 100,000 rows, more than ten times 1,600; parallel curves never meet."""
    far = find_crossing(curves(lambda n: 10 * n**-0.5, lambda n: n**-0.3), 10_000)
    assert (far.rows, far.beyond) == (None, True)
    assert "not be worth it within 10 times the 1,600 rows" in far.sentence
    never = find_crossing(curves(lambda n: n**-0.1, lambda n: 0.9 * n**-0.3), 10_000)
    assert (never.rows, never.beyond) == (None, False)
    assert "At no size" in never.sentence


def test_crossing_needs_sizes_and_scratch():
    """Two sizes, or no scratch, cannot tell; both say so."""
    few = find_crossing(curves(lambda n: n**-0.1, lambda n: n**-0.3, (100, 400)), 1000)
    assert "fewer than 3 sizes" in few.sentence
    cells = [replace(cell, strategy="head") for cell in summarise(make("full", 5, [0.5]))]
    assert "cannot be said" in find_crossing(cells, 1000).sentence
    perfect = find_crossing(curves(lambda n: n**-0.1, lambda n: 0 * n), 1000)
    assert perfect.rows is None
