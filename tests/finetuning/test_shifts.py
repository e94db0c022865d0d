"""Two samples held against each other, with p-values and effects worked by hand."""

import math

import pandas
import pytest

from finetuning.shifts import (
    CHANCE,
    REAL,
    SLIGHT,
    UNKNOWN,
    compare_numbers,
    compare_shares,
    conclude,
    correct,
    describe,
)


def label(**counts):
    """A column with so many rows of each label."""
    return pandas.Series([name for name, count in counts.items() for _ in range(count)], dtype=str)


def numbers(values):
    """A column of numbers."""
    return pandas.Series(values, dtype=float)


def test_shares_are_compared_by_pearson_s_test():
    """Of 100 and 100 rows, 60/40 against 40/60: chi-squared 8 with 1 degree, p = 0.004678."""
    found = compare_shares("labels", label(x=60, y=40), label(x=40, y=60))
    assert found.p_value == pytest.approx(0.0046777, rel=1e-4)
    assert found.effect == pytest.approx(0.2)
    assert (found.verdict, found.rows) == (REAL, (100, 100))
    assert describe(found) == (
        "labels: a real shift: most of all x 60.0% -> 40.0% (total variation distance 0.200; "
        "chi-squared test, p = 0.0047)"
    )
    same = compare_shares("labels", label(x=60, y=40), label(x=59, y=41))
    assert same.verdict == CHANCE
    assert CHANCE in describe(same)


def test_distance_is_half_of_all_differences():
    """Shares 0.5, 0.3, 0.2 against 0.3, 0.3, 0.4 differ by 0.2, 0 and 0.2: half of it is 0.2."""
    found = compare_shares("labels", label(a=50, b=30, c=20), label(a=30, b=30, c=40))
    assert found.effect == pytest.approx(0.2)
    # Expected are 40, 30 and 30 a sample: 4 * 10^2 / 40 twice over is 5, 4 / 30 is 6.667.
    assert found.p_value == pytest.approx(math.exp(-(5 + 20 / 3) / 2))


def test_rare_values_are_taken_together():
    """Twenty labels of one row each would make the approximation worthless: as if one label."""
    rare = {f"r{number}": 1 for number in range(20)}
    other = {f"s{number}": 1 for number in range(20)}
    found = compare_shares("labels", label(x=80, **rare), label(x=80, **other))
    assert found.p_value == pytest.approx(1.0)
    assert (found.before["r0"], found.after["r0"]) == (0.01, 0)
    assert found.effect == pytest.approx(0.2)


def test_a_rare_rest_is_taken_in_with_the_next_rarest():
    """Of 50/48/2 and 50/46/4 the third cell expects 3: with the second it is 50 against 50."""
    found = compare_shares("labels", label(a=50, b=48, c=2), label(a=50, b=46, c=4))
    assert found.test == "chi-squared test"
    assert found.p_value == pytest.approx(1.0)


def test_few_rows_are_compared_by_fisher_s_test():
    """The lady who tasted tea: 3 and 1 against 1 and 3, two-sided p = 34 of 70 ways."""
    found = compare_shares("labels", label(x=3, y=1), label(x=1, y=3))
    assert found.test == "Fisher's exact test"
    assert found.p_value == pytest.approx(34 / 70)
    assert found.verdict == CHANCE


@pytest.mark.parametrize("after", [label(), label(x=3)], ids=["no rows", "one label"])
def test_what_cannot_be_tested_is_said(after):
    """No row, or no second label, is no reason to claim anything."""
    found = compare_shares("labels", label(x=30), after)
    assert found.p_value is None
    assert describe(found) == "labels: too little to compare"


def test_numbers_are_compared_by_kolmogorov_s_test():
    """1 to 2000 against 101 to 2100 lie 0.05 apart: p is near 2 exp(-2 * 1000 * 0.05^2)."""
    found = compare_numbers("length", numbers(range(1, 2001)), numbers(range(101, 2101)))
    assert (found.before, found.after) == ({"median": 1000.5}, {"median": 1100.5})
    assert found.effect == pytest.approx(0.05)
    assert found.p_value == pytest.approx(2 * math.exp(-5), rel=0.05)
    assert found.verdict == CHANCE
    assert "median 1000 -> 1100" in describe(found)


def test_few_numbers_are_compared_exactly():
    """One against one says nothing; of 3 and 3, 2 of 20 orders lie as far apart as these."""
    assert compare_numbers("n", numbers([1]), numbers([9])).p_value == pytest.approx(1)
    found = compare_numbers("n", numbers([1, 2, 3]), numbers([7, 8, 9]), "mean")
    assert found.p_value == pytest.approx(0.1)
    assert (found.effect, found.after) == (1, {"mean": 8})
    # The one that is longer than 150 others may stand at either end: 2 of 151 places.
    found = compare_numbers("n", numbers(range(150)), numbers([200]))
    assert found.p_value == pytest.approx(2 / 151)
    assert compare_numbers("n", numbers([1]), numbers([math.nan])).verdict == UNKNOWN


def test_a_negligible_difference_of_many_rows_is_not_important():
    """Of a million rows each, a share of 50% against 51% is far beyond chance, and small."""
    found = compare_shares("labels", label(x=50, y=50), label(x=51, y=49))
    assert found.verdict == CHANCE
    many = [pandas.Series(["x"] * share + ["y"] * (100 - share)) for share in (50, 51)]
    found = compare_shares("labels", *(pandas.concat([one] * 10_000) for one in many))
    assert found.p_value < 1e-30
    assert found.effect == pytest.approx(0.01)
    assert found.verdict == SLIGHT
    assert describe(found).startswith("labels: more than chance would give, but small: ")
    assert conclude([found]) == (
        "no shift of any size; more than chance would give, but small: labels"
    )


def test_p_values_are_corrected_for_all_that_are_shown():
    """Holm: of 0.0047 and two of 1, the first counts three times; untested ones do not count."""
    shift = compare_shares("labels", label(x=60, y=40), label(x=40, y=60))
    same = compare_shares("same", label(x=5, y=5), label(x=5, y=5))
    nothing = compare_shares("none", label(x=5), label())
    found = correct([same, shift, nothing, same])
    assert found[1].adjusted == pytest.approx(3 * shift.p_value)
    assert (shift.verdict, found[1].verdict) == (REAL, CHANCE)
    assert found[2].adjusted is None
    assert [one.verdict for one in found] == [CHANCE, CHANCE, UNKNOWN, CHANCE]


def test_the_sentence_over_all_names_what_shifted():
    """A real shift leads; without one chance; where nothing could be tested, that."""
    shift = compare_shares("labels", label(x=60, y=40), label(x=40, y=60))
    same = compare_shares("same", label(x=5, y=5), label(x=5, y=5))
    nothing = compare_shares("none", label(x=5), label())
    assert conclude([same, shift, nothing]) == "a real shift: labels"
    assert conclude([same, nothing]) == CHANCE
    assert conclude([nothing]) == conclude([]) == UNKNOWN
