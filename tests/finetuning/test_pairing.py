"""Paired comparisons: the test that fits the measure, the sign, and falls beyond a limit."""

import numpy as np
import pandas
import pytest
from scipy.stats import binomtest, norm

from finetuning.measures import find_measure
from finetuning.pairing import BOOTSTRAP, MCNEMAR, compare, find_interval, weigh_fall
from finetuning.statistics import compare_accuracy

ACCURACY = find_measure("accuracy")


def tables(both, candidate_only, champion_only, neither):
    """Two prediction tables from the four counts."""
    candidate = [1] * (both + candidate_only) + [0] * (champion_only + neither)
    champion = [1] * both + [0] * candidate_only + [1] * champion_only + [0] * neither
    return tuple(
        pandas.DataFrame(
            {"label": "yes", "prediction": np.where(np.array(right) == 1, "yes", "no")}
        )
        for right in (candidate, champion)
    )


def numbers(candidate, champion, name="f1"):
    """Two tables with a numeric column."""
    return tuple(
        pandas.DataFrame({"label": "x", "prediction": "x", name: values})
        for values in (candidate, champion)
    )


def test_accuracy_is_mcnemar_and_newcombe():
    """Shares take the exact test, and the interval of the level asked for."""
    found = compare(ACCURACY, *tables(900, 35, 20, 45), level=0.025)
    assert found.test == MCNEMAR
    assert found.p_value == pytest.approx(binomtest(35, 55).pvalue)
    assert found.difference == pytest.approx(0.015)
    right = [np.array(t["prediction"] == "yes") for t in tables(900, 35, 20, 45)]
    reference = compare_accuracy(*right, alpha=0.05)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high))
    assert (found.rows, found.candidate, found.champion) == (1000, 0.935, 0.92)


def test_column_of_zeros_and_ones_is_a_share():
    """An exact match by row is compared as accuracy is, and otherwise bootstrapped."""
    right = [np.array(t["prediction"] == "yes", float) for t in tables(60, 25, 5, 10)]
    found = compare(find_measure("exact_match"), *numbers(*right, "exact_match"), level=0.025)
    assert (found.test, found.p_value) == (MCNEMAR, pytest.approx(binomtest(25, 30).pvalue))
    right[0][0] = 0.5
    found = compare(find_measure("exact_match"), *numbers(*right, "exact_match"), level=0.025)
    assert found.test == BOOTSTRAP


def test_mean_of_a_column_agrees_with_the_paired_normal_interval():
    """The bootstrap of a mean difference is close to the interval of the paired z-test."""
    generator = np.random.default_rng(0)
    champion = generator.normal(0.6, 0.2, 800)
    candidate = champion + generator.normal(0.02, 0.1, 800)
    found = compare(find_measure("f1"), *numbers(candidate, champion), level=0.025)
    apart = candidate - champion
    half = norm.isf(0.025) * apart.std() / np.sqrt(800)
    assert found.test == BOOTSTRAP
    assert found.difference == pytest.approx(apart.mean())
    assert found.low == pytest.approx(apart.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(apart.mean() + half, abs=0.1 * half)


@pytest.mark.parametrize("name", ["loss", "perplexity"])
def test_less_is_better(name):
    """Where less is better, a candidate with lower losses has a positive difference."""
    generator = np.random.default_rng(0)
    champion = generator.normal(2.0, 0.2, 400)
    found = compare(find_measure(name), *numbers(champion - 0.1, champion, "loss"), level=0.025)
    assert found.candidate < found.champion
    assert 0 < found.low <= found.difference <= found.high


def test_shares_of_which_less_is_better_are_mirrored():
    """An error flag by row: fewer errors are a positive difference, with a mirrored interval."""
    right = [np.array(t["prediction"] == "yes", float) for t in tables(900, 35, 20, 45)]
    wrong = numbers(1 - right[0], 1 - right[1], "error")
    found = compare(find_measure("error", lower_is_better=True), *wrong, level=0.025)
    same = compare(ACCURACY, *tables(900, 35, 20, 45), level=0.025)
    assert found.difference == pytest.approx(same.difference)
    assert found.low == pytest.approx(same.low, abs=2e-4)
    assert found.p_value == pytest.approx(same.p_value)


def test_macro_f1_draws_agree_with_resampling_rows_one_by_one():
    """The multinomial bootstrap over equal rows is the plain bootstrap over rows."""
    from sklearn.metrics import f1_score

    generator = np.random.default_rng(2)
    label = generator.choice(["a", "b", "c"], 150)
    first = np.where(generator.random(150) < 0.8, label, "a")
    second = np.where(generator.random(150) < 0.7, label, "b")
    pair = [pandas.DataFrame({"label": label, "prediction": p}) for p in (first, second)]
    found = compare(find_measure("macro_f1"), *pair, level=0.025)

    def score(rows, predicted):
        return f1_score(label[rows], predicted[rows], average="macro")

    draws = [
        score(rows, first) - score(rows, second)
        for rows in (generator.integers(0, 150, 150) for _ in range(600))
    ]
    assert found.difference == pytest.approx(score(slice(None), first) - score(slice(None), second))
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.25 * (high - low) / 2)


def test_fall_is_the_level_at_which_the_interval_reaches_the_limit():
    """At its p-value, the upper bound of the difference lies exactly at the limit."""
    pair = tables(100, 5, 40, 55)  # falls by 0.175
    p_value = weigh_fall(ACCURACY, *pair, limit=0.1)
    assert 0.001 < p_value < 0.2
    assert compare(ACCURACY, *pair, level=p_value).high == pytest.approx(-0.1, abs=1e-6)


def test_fall_within_the_limit_is_none():
    """A fall that the limit allows has the p-value 1; a larger one a smaller the larger it is."""
    assert weigh_fall(ACCURACY, *tables(100, 10, 12, 78), limit=0.03) == 1.0
    assert weigh_fall(ACCURACY, *tables(100, 12, 10, 78), limit=0.0) == 1.0
    falls = [weigh_fall(ACCURACY, *tables(100, 5, 5 + lost, 90), 0.03) for lost in (8, 16, 40)]
    assert falls[0] > falls[1] > falls[2]
    assert falls[2] < 1e-4


def test_fall_of_a_mean():
    """A mean that fell by 0.1 has certainly fallen by 0.05, and not by 0.15."""
    generator = np.random.default_rng(0)
    champion = generator.uniform(0.2, 1, 500)
    pair = numbers(champion - 0.1 + generator.normal(0, 0.05, 500), champion)
    assert weigh_fall(find_measure("f1"), *pair, limit=0.05) < 0.001
    assert weigh_fall(find_measure("f1"), *pair, limit=0.15) > 0.99


def test_interval_of_a_share_is_wilsons():
    """8 of 10: 0.4902 to 0.9433 (Newcombe 1998, method 3)."""
    table = pandas.DataFrame({"label": ["a"] * 10, "prediction": ["a"] * 8 + ["b"] * 2})
    assert find_interval(find_measure("accuracy"), table, 0.025) == pytest.approx(
        (0.4902, 0.9433), abs=1e-4
    )


def test_interval_of_perplexity_is_that_of_the_mean_loss():
    """For many rows the bootstrap comes near exp of the normal interval of the mean."""
    loss = np.random.default_rng(3).normal(2.0, 0.5, 4000)
    table = pandas.DataFrame({"loss": loss})
    low, high = find_interval(find_measure("perplexity"), table, 0.025)
    reach = 1.96 * loss.std() / np.sqrt(len(loss))
    assert (low, high) == pytest.approx(
        (np.exp(loss.mean() - reach), np.exp(loss.mean() + reach)), rel=5e-3
    )
