"""What differs between two tables, against counts made by hand and SciPy's published tests."""

import math

import pandas
import pytest

from finetuning.differences import (
    compare_labels,
    compare_lengths,
    compare_rows,
    compare_values,
    describe_labels,
    describe_lengths,
    find_added,
)


def table(*rows):
    """Rows as (key, label, split); the text is the key."""
    frame = pandas.DataFrame(rows, columns=["key", "label", "split"])
    return frame.assign(text=frame["key"])


def label(**counts):
    """A table with so many rows of each label."""
    rows = [(f"{name}{n}", name, "train") for name, count in counts.items() for n in range(count)]
    return table(*rows)


def test_rows_are_matched_by_their_text():
    """One added, one removed, one relabelled, one moved; the one that stayed is none of them."""
    before = table(("stays", "a", "train"), ("goes", "a", "train"), ("turns", "a", "train"),
                   ("moves", "b", "train"))  # fmt: skip
    after = table(("moves", "b", "test"), ("turns", "b", "train"), ("comes", "b", "train"),
                  ("stays", "a", "train"))  # fmt: skip
    found = compare_rows(before, after)
    assert (found.added, found.removed, found.relabelled, found.moved) == (1, 1, 1, 1)
    assert (found.before, found.after) == (4, 4)
    assert found.examples == {
        "added": ["'comes' (b)"],
        "removed": ["'goes' (a)"],
        "relabelled": ["'turns' (a -> b)"],
    }


def test_repeated_texts_are_counted_row_by_row():
    """Three rows a, a, b become a, b, b, b: one is relabelled and one is added."""
    before = table(*(("t", name, "train") for name in "aab"))
    after = table(*(("t", name, "train") for name in "abbb"))
    found = compare_rows(before, after)
    assert (found.added, found.removed, found.relabelled) == (1, 0, 1)
    back = compare_rows(after, before)
    assert (back.added, back.removed, back.relabelled) == (0, 1, 1)


def test_the_same_rows_in_another_order_are_the_same():
    """Order counts for nothing; a missing label is a label."""
    before = table(("one", "a", "train"), ("two", None, "train"))
    found = compare_rows(before, before.iloc[::-1])
    assert not found
    assert compare_rows(before, before.assign(label=["a", "b"])).relabelled == 1


def test_label_shift_is_pearson_s_test():
    """Of 100 and 100 rows, 60/40 against 40/60: chi-squared 8 with 1 degree, p = 0.004678."""
    found = compare_labels(label(x=60, y=40), label(x=40, y=60))
    assert found.p_value == pytest.approx(0.0046777, rel=1e-4)
    assert found.is_shift
    assert "shifted, most of all x 60.0% -> 40.0%" in describe_labels(found)
    same = compare_labels(label(x=60, y=40), label(x=59, y=41))
    assert not same.is_shift
    assert describe_labels(same).startswith("labels: no shift")


def test_rare_labels_are_taken_together():
    """Twenty labels of one row each would make the approximation worthless: as if one label."""
    rare = {f"r{number}": 1 for number in range(20)}
    other = {f"s{number}": 1 for number in range(20)}
    found = compare_labels(label(x=80, **rare), label(x=80, **other))
    assert found.p_value == pytest.approx(1.0)
    assert found.before["r0"] == 0.01
    assert found.after["r0"] == 0


@pytest.mark.parametrize("after", [label(), label(x=3)], ids=["no rows", "one label"])
def test_what_cannot_be_tested_is_said(after):
    """No row, or no second label, is no reason to claim anything."""
    found = compare_labels(label(x=30), after)
    assert found.p_value is None
    assert describe_labels(found) == "labels: too little to compare"


def texts(lengths):
    """A table with texts of these lengths."""
    return pandas.DataFrame({"text": ["x" * length for length in lengths]})


def test_length_shift_is_kolmogorov_s_test():
    """Lengths 1 to 2000 against 101 to 2100 lie 0.05 apart: p is near 2 exp(-2 * 1000 * 0.05^2)."""
    found = compare_lengths(texts(range(1, 2001)), texts(range(101, 2101)))
    assert (found.before, found.after) == (1000.5, 1100.5)
    assert found.p_value == pytest.approx(2 * math.exp(-5), rel=0.05)
    assert "no shift (median 1000.5 -> 1100.5 characters; p = 0.01" in describe_lengths(found)


def test_length_shift_is_said():
    """Texts twice as long are a shift; the same are not; nothing cannot be compared."""
    short = texts(range(1, 101))
    longer = compare_lengths(short, texts(range(2, 202, 2)))
    assert longer.is_shift
    assert "shifted, median 50.5 -> 101 characters" in describe_lengths(longer)
    assert not compare_lengths(short, short).is_shift
    assert describe_lengths(compare_lengths(short, short[:0])) == "lengths: too little to compare"


def test_few_texts_are_compared_exactly():
    """One against one says nothing; of 3 and 3 texts, 2 of 20 orders lie as far apart as these."""
    assert compare_lengths(texts([1]), texts([9])).p_value == pytest.approx(1)
    assert compare_lengths(texts([1, 2, 3]), texts([7, 8, 9])).p_value == pytest.approx(0.1)
    # The one text that is longer than 150 others may stand at either end: 2 of 151 places.
    assert compare_lengths(texts(range(150)), texts([200])).p_value == pytest.approx(2 / 151)


def test_added_rows_are_those_with_new_texts():
    """A text that stood before is not new, however it is labelled."""
    before, after = table(("one", "a", "train")), table(("one", "b", "train"), ("two", "a", "test"))
    assert list(find_added(before, after)["key"]) == ["two"]


def test_values_are_said_with_before_and_after():
    """A key that one side lacks is absent there; what is ignored is not looked at."""
    found = compare_values({"a": 1, "b": 2, "c": [1]}, {"a": 1, "b": 3, "d": "new"}, ["c"])
    assert [str(one) for one in found] == ["b: 2 -> 3", "d: (absent) -> new"]
