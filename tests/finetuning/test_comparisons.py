"""Comparisons: means, spreads, certainty and extrapolation against values worked out by hand."""

from dataclasses import replace

import numpy as np
import pandas
import pytest

from finetuning.comparison_page import describe_choice, describe_rates
from finetuning.comparisons import (
    Trial,
    choose,
    find_crossing,
    find_error,
    fit_law,
    summarise,
)


def make(strategy, size, scores, seconds=10.0):
    """Trials of a strategy at a size, one score a seed."""
    return [
        Trial(strategy, size, seed, score, 7, seconds, 1000 + seed)
        for seed, score in enumerate(scores)
    ]


def predict(right, rows=1000):
    """Predictions of rows that are all labelled 1: the first ones right."""
    predictions = np.where(np.arange(rows) < right, "1", "0")
    return pandas.DataFrame({"label": "1", "prediction": predictions}, dtype=object)


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
    choice = choose(trials, rows, "accuracy")
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
    choice = choose(trials, rows, "accuracy")
    assert choice.strategy == "full"
    assert not choice.sure
    said = describe_choice(choice, summarise(trials), "accuracy")
    assert "that lead is not sure" in said
    assert said.endswith("head took 10.0 times less time.")


def test_ties_go_to_the_faster():
    """Equal means: the cheaper strategy is chosen."""
    trials = make("full", 5, [0.5, 0.5], 9.0) + make("head", 5, [0.5, 0.5], 1.0)
    rows = {(kind, seed): predict(500) for kind in ("full", "head") for seed in (0, 1)}
    choice = choose(trials, rows, "accuracy")
    assert (choice.strategy, choice.sure) == ("head", False)


def test_a_strategy_alone():
    """Nothing to compare with is said, and is never sure."""
    trials = make("full", 5, [0.5, 0.6])
    choice = choose(trials, {}, "accuracy")
    assert (choice.runner_up, choice.sure) == (None, False)
    assert "nothing else was compared" in describe_choice(choice, summarise(trials), "accuracy")


def lose(nats, rows=200):
    """A prediction table of texts of ten tokens each, with a loss that differs a little by row."""
    return pandas.DataFrame({"loss": nats + 0.01 * (np.arange(rows) % 3), "tokens": 10})


def test_the_lowest_perplexity_is_chosen():
    """Less is better: the lead is positive, e^2.01 minus e^1.01, for the mean of 0, 1, 2 is 1."""
    tables = {("full", seed): lose(1.0) for seed in (0, 1)}
    tables |= {("lora", seed): lose(2.0) for seed in (0, 1)}
    scores = {"full": np.exp(1.01), "lora": np.exp(2.01)}
    trials = [one for kind in scores for one in make(kind, 50, [scores[kind]] * 2)]
    choice = choose(trials, tables, "perplexity")
    assert (choice.strategy, choice.runner_up, choice.sure) == ("full", "lora", True)
    assert choice.difference == pytest.approx(np.exp(2.01) - np.exp(1.01), abs=0.01)
    assert choice.interval[0] < choice.difference < choice.interval[1]


def test_macro_f1_is_resampled_with_every_seed():
    """All tables have the same rows; the interval of the mean lead holds the mean lead."""
    tables = {("full", seed): predict(800 + 10 * seed) for seed in (0, 1)}
    tables |= {("head", seed): predict(700) for seed in (0, 1)}
    trials = make("full", 50, [0.44, 0.45]) + make("head", 50, [0.41, 0.41])
    choice = choose(trials, tables, "macro_f1")
    # All labels are 1, so macro F1 is half of 2 right / (rows + right): 0 is predicted, never true.
    hits = np.array([800, 810, 700])
    scores = hits / (1000 + hits)
    assert choice.difference == pytest.approx(scores[:2].mean() - scores[2])
    assert choice.interval[0] < choice.difference < choice.interval[1]


def test_errors_by_hand():
    """What is missing to 1, the share itself where less is better, nats of a perplexity."""
    assert find_error("accuracy", 0.9, 1000) == pytest.approx(0.1)
    assert find_error("accuracy", 1.0, 1000) == 0.0005
    assert find_error("expected_calibration_error", 0.02, 1000) == 0.02
    assert find_error("perplexity", np.exp(3.0), 1000) == pytest.approx(3.0)


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
    crossing = find_crossing(curves(lambda n: 5 * n**-0.5, lambda n: n**-0.3), 10_000, "accuracy")
    assert crossing.rows == pytest.approx(3125)
    assert "about 3,125 rows" in crossing.sentence
    measured = find_crossing(curves(lambda n: 4 * n**-0.5, lambda n: n**-0.3), 10_000, "accuracy")
    assert measured.rows == 1600
    assert "From 1,600 rows on" in measured.sentence


def test_crossing_out_of_reach():
    """n^0.2 = 10 is at 100,000 rows, more than ten times 1,600; parallel curves never meet."""
    far = find_crossing(curves(lambda n: 10 * n**-0.5, lambda n: n**-0.3), 10_000, "accuracy")
    assert (far.rows, far.beyond) == (None, True)
    assert "not be worth it within 10 times the 1,600 rows" in far.sentence
    never = find_crossing(curves(lambda n: n**-0.1, lambda n: 0.9 * n**-0.3), 10_000, "accuracy")
    assert (never.rows, never.beyond) == (None, False)
    assert "At no size" in never.sentence


def test_the_best_rate_of_scratch_counts():
    """At 1,600 rows scratch is behind at the pipeline's rate, and ahead at one of its own."""
    trials = [
        *make("full", 1600, [0.9]),
        *make("scratch", 1600, [0.8]),
        *make("scratch@0.01", 1600, [0.95]),
    ]
    crossing = find_crossing(summarise(trials), 10_000, "accuracy")
    assert crossing.rows == 1600
    assert "no worse" in crossing.sentence
    assert "cannot be said" in find_crossing(summarise(trials[1:]), 10_000, "accuracy").sentence


def test_rates_are_told():
    """That one rate held for all, and how another is tried; or which strategies had their own."""
    assert "All at the learning rate 0.0002" in describe_rates(["head", "lora", "lora"], 2e-4)
    assert "lora@RATE" in describe_rates(["head", "lora"], 2e-4)
    said = describe_rates(["full", "lora@0.002"], 2e-4)
    assert said == "Each at the rate behind its @, the others at the pipeline's own of 0.0002."


def test_crossing_needs_sizes_and_scratch():
    """Two sizes, or no scratch, cannot tell; both say so."""
    few = find_crossing(curves(lambda n: n**-0.1, lambda n: n**-0.3, (100, 400)), 1000, "accuracy")
    assert "fewer than 3 sizes" in few.sentence
    cells = [replace(cell, strategy="head") for cell in summarise(make("full", 5, [0.5]))]
    assert "cannot be said" in find_crossing(cells, 1000, "accuracy").sentence
    perfect = find_crossing(curves(lambda n: n**-0.1, lambda n: 0 * n), 1000, "accuracy")
    assert perfect.rows is None
