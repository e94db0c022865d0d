"""Tests and intervals against scipy, published values and an independent implementation."""

import math

import numpy as np
import pytest
from scipy.stats import binom, binomtest, norm

from finetuning.statistics import (
    RESAMPLES,
    adjust_holm,
    bootstrap_paired,
    bootstrap_sums,
    compare_accuracy,
    mcnemar,
    wilson,
)


def models(both, first_only, second_only, neither):
    """Which rows each of two models got right, from the four counts."""
    first = [True] * (both + first_only) + [False] * (second_only + neither)
    second = [True] * both + [False] * first_only + [True] * second_only + [False] * neither
    return np.array(first), np.array(second)


def newcombe(e, f, g, h, alpha=0.05):
    """Newcombe 1998, method 10, in the paper's letters: e both, f and g discordant, h neither.

    The bounds of each proportion are the roots of |p - x| = z sqrt(x (1 - x) / n).
    """
    n, z = e + f + g + h, norm.ppf(1 - alpha / 2)

    def roots(p):
        return np.sort(np.roots([1 + z * z / n, -(2 * p + z * z / n), p * p]).real)

    (l2, u2), (l3, u3) = roots((e + f) / n), roots((e + g) / n)
    p2, p3 = (e + f) / n, (e + g) / n
    a = (e + f) * (g + h) * (e + g) * (f + h)
    b = e * h - f * g
    c = b - n / 2 if b > n / 2 else (0 if b >= 0 else b)
    phi = c / math.sqrt(a) if a else 0
    dl2, du2, dl3, du3 = p2 - l2, u2 - p2, p3 - l3, u3 - p3
    delta = math.sqrt(dl2**2 - 2 * phi * dl2 * du3 + du3**2)
    epsilon = math.sqrt(du2**2 - 2 * phi * du2 * dl3 + dl3**2)
    return p2 - p3 - delta, p2 - p3 + epsilon


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 0), (5, 5), (3, 17), (121, 59), (0, 40)])
def test_mcnemar_is_the_binomial_test(one, other):
    """The p-value is scipy's exact binomial test, and does not depend on the order."""
    assert mcnemar(one, other) == pytest.approx(binomtest(one, one + other).pvalue)
    assert mcnemar(one, other) == pytest.approx(mcnemar(other, one))


@pytest.mark.parametrize(("one", "other"), [(2, 10), (6, 16), (0, 6)])
def test_mcnemar_by_hand(one, other):
    """Twice the binomial tail: of 2 and 10, 2 * (1 + 12 + 66) / 4096 = 0.0386."""
    tail = sum(math.comb(one + other, k) for k in range(one + 1))
    assert mcnemar(one, other) == pytest.approx(2 * tail / 2 ** (one + other))
    assert mcnemar(2, 10) == pytest.approx(158 / 4096)


def test_mcnemar_textbook():
    """Agresti's approval ratings, 150 against 86 of 1600: z = 4.17, so p is about 3e-5."""
    assert mcnemar(86, 150) == pytest.approx(2 * binom.cdf(86, 236, 0.5))
    assert mcnemar(86, 150) == pytest.approx(2 * norm.sf(4.17), rel=0.35)


def test_mcnemar_of_equal_models():
    """Models that are right on the same rows do not differ."""
    assert mcnemar(0, 0) == 1.0


@pytest.mark.parametrize(
    ("hits", "rows", "low", "high"),
    # Newcombe 1998, Statistics in Medicine 17, 857-872, table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(hits, rows, low, high):
    """The interval is the published one to its four digits."""
    assert wilson(hits, rows) == pytest.approx((low, high), abs=5.1e-5)


@pytest.mark.parametrize("alpha", [0.05, 0.01, 0.2])
@pytest.mark.parametrize(("hits", "rows"), [(0, 7), (7, 7), (3, 10), (934, 1000), (1, 1)])
def test_wilson_is_scipys(hits, rows, alpha):
    """The interval is scipy's, lies in [0, 1] and holds the share."""
    expected = binomtest(hits, rows).proportion_ci(1 - alpha, method="wilson")
    low, high = wilson(hits, rows, alpha)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= low <= hits / rows + 1e-12
    assert hits / rows - 1e-12 <= high <= 1


def test_compare_published():
    """Newcombe 1998, Statistics in Medicine 17, 2635-2650, table II: 36, 12, 2 and 0 of 50."""
    difference = compare_accuracy(*models(36, 12, 2, 0))
    assert difference.value == pytest.approx(0.2)
    assert (difference.low, difference.high) == pytest.approx((0.0569, 0.3404), abs=5.1e-5)


def test_compare_against_the_paper():
    """On random tables, sparse ones too, the interval is an independent implementation's."""
    generator = np.random.default_rng(1)
    tables = [tuple(generator.integers(0, size, 4)) for size in (4, 20, 300) for _ in range(60)]
    for table in tables:
        if sum(table) == 0:
            continue
        got = compare_accuracy(*models(*table))
        assert (got.low, got.high) == pytest.approx(newcombe(*map(int, table)), abs=1e-9), table
        assert got.low <= got.value <= got.high


@pytest.mark.parametrize("table", [(36, 12, 2, 0), (900, 20, 35, 45), (0, 3, 1, 0), (5, 0, 0, 5)])
def test_compare_is_antisymmetric(table):
    """Swapping the models mirrors the interval and keeps the p-value."""
    first, second = models(*table)
    one, other = compare_accuracy(first, second), compare_accuracy(second, first)
    assert one.value == pytest.approx(-other.value)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    assert one.p_value == pytest.approx(other.p_value)


def test_compare_p_value():
    """The p-value beside the interval is McNemar's on the discordant rows."""
    difference = compare_accuracy(*models(900, 20, 35, 45))
    assert difference.value == pytest.approx(-0.015)
    assert difference.p_value == pytest.approx(binomtest(20, 55).pvalue)


def test_compare_with_itself():
    """A model against itself: no difference, and an interval around 0 that has closed up."""
    first, _ = models(800, 0, 0, 200)
    difference = compare_accuracy(first, first)
    assert (difference.value, difference.p_value) == (0.0, 1.0)
    assert difference.low == pytest.approx(-difference.high)
    assert 0 <= difference.high < 0.005


def test_compare_alpha():
    """More confidence is a wider interval."""
    wide = compare_accuracy(*models(90, 20, 8, 12), alpha=0.01)
    narrow = compare_accuracy(*models(90, 20, 8, 12), alpha=0.2)
    assert wide.low < narrow.low < narrow.high < wide.high
    assert (wide.low, wide.high) == pytest.approx(newcombe(90, 20, 8, 12, 0.01))


def mean(sums, rows):
    """The mean, as a function of sums over rows."""
    return sums[:, 0] / rows


def resample(values, level=0.025):
    """The bootstrap of a mean."""
    return bootstrap_sums(values[:, None], mean).summarise(level)


def test_bootstrap_of_a_mean():
    """The interval of a mean agrees with the normal one, and the p-value says it is not 0."""
    values = np.random.default_rng(0).normal(0.3, 1.0, 400)
    found = resample(values)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(values.mean() + half, abs=0.15 * half)
    assert found.p_value == pytest.approx(2 / (RESAMPLES + 1))


def test_bootstrap_covers():
    """Of intervals of 100 samples, about 95 in 100 hold the true mean."""
    generator = np.random.default_rng(5)
    found = [resample(generator.exponential(1.0, 80)) for _ in range(100)]
    assert 87 <= sum(one.low <= 1.0 <= one.high for one in found) <= 100


def test_bootstrap_p_value():
    """No difference at all is p = 1, a symmetric one is large."""
    assert resample(np.zeros(10)).p_value == 1.0
    assert resample(np.array([-1.0, 1.0] * 50)).p_value > 0.8


def test_bootstrap_level():
    """More confidence is a wider interval."""
    values = np.random.default_rng(0).normal(size=60)
    wide, narrow = resample(values, 0.005), resample(values, 0.1)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_paired_bootstrap_knows_its_draws():
    """A level too small for the draws takes the normal tail; more draws are taken where asked."""
    values = np.random.default_rng(0).normal(0.2, 1.0, (100, 1))
    few, many = (bootstrap_paired(values, 0 * values, mean, level) for level in (None, 0.001))
    assert (len(few.draws), len(many.draws)) == (RESAMPLES, 10_000)
    found = few.summarise(0.0001)
    assert found.low == pytest.approx(found.value - norm.isf(0.0001) * few.draws.std())
    assert found.p_value == pytest.approx(2 * norm.sf(found.value / few.draws.std()))
    assert many.summarise(0.001).low == np.quantile(many.draws, 0.001)


def test_paired_bootstrap_of_equal_models():
    """Models that score the same on every row differ in no draw."""
    values = np.random.default_rng(0).normal(size=(50, 1))
    found = bootstrap_paired(values, values, mean).summarise(0.025)
    assert (found.value, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_paired_bootstrap_is_deterministic_and_paired():
    """Equal bit by bit when repeated; a constant lead over noisy rows has no spread."""
    values = np.random.default_rng(0).normal(size=(50, 1))
    one, other = (bootstrap_paired(values + 0.1, values, mean) for _ in range(2))
    assert (one.draws == other.draws).all()
    assert one.draws == pytest.approx(np.full(RESAMPLES, 0.1))


def test_holm_by_hand():
    """0.01, 0.04, 0.03, 0.005 of four: times 3, 1, 2, 4, and never below a smaller one's."""
    assert adjust_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_holm([0.5, 0.9]) == [1.0, 1.0]
    assert adjust_holm([]) == []
