"""Great Expectations on parts of a table: what it finds is what it finds in the whole."""

import dataclasses

import pandas
import pytest

from finetuning.errors import InputError
from finetuning.expectations import ExpectationSpec
from tasks import suites
from tasks.suites import run_suites
from tasks.validation import validate_rows
from tests.validation_rows import failures, settings, snapshot, sound

FAULTY = [
    *sound(),
    *(("train", f"bright thing {number}", "pro") for number in range(9)),
    ("train", None, "pro"),
    ("train", " ", "con"),
    ("train", "caf\u00c3\u00a9 and more", "con"),
    ("train", "good number train 1", "pro"),
    ("train", "good number train 2", "con"),
    ("validation", "tea &amp; cake", "con"),
    ("left-out", "bad number test 0", "con"),
]
OWN = [
    {"expect": "ExpectColumnValueLengthsToBeBetween", "column": "text", "min_value": 18,
     "mostly": 0.9, "severity": "warning"},
    {"expect": "ExpectColumnValuesToBeUnique", "column": "text", "severity": "warning"},
    {"expect": "ExpectTableRowCountToEqual", "value": 3, "severity": "warning"},
]  # fmt: skip


def test_a_report_over_parts_is_that_over_the_whole(monkeypatch):
    """Counts, shares, examples and verdicts are the same, of the user's own expectations too."""
    data = settings(expectations=OWN)
    whole = validate_rows(snapshot(FAULTY), data)
    assert len(failures(whole)) >= 9
    monkeypatch.setattr(suites, "ROWS_AT_ONCE", 15)
    parts = validate_rows(snapshot(FAULTY), data)
    for one, other in zip(parts.outcomes, whole.outcomes, strict=True):
        assert one == other, one.name
    assert dataclasses.replace(parts, outcomes=()) == dataclasses.replace(whole, outcomes=())


def test_texts_that_pyarrow_keeps_are_found_the_same_faults_in():
    """Missing is missing, whether it is None or NaN."""
    rows = snapshot(FAULTY)
    kept = rows.astype({name: "str" for name in rows.columns if name != "row"})
    assert validate_rows(kept, settings()) == validate_rows(rows, settings())


@pytest.mark.parametrize(("mostly", "success"), [(0.5, True), (0.51, False)])
def test_a_share_is_held_against_the_rows_that_have_a_value(monkeypatch, mostly, success):
    """Two of four values are too short, in parts of one row; a missing one does not count."""
    monkeypatch.setattr(suites, "ROWS_AT_ONCE", 1)
    frame = pandas.DataFrame({"text": ["a", None, "bcd", "e", "fgh"]}, dtype=object)
    arguments = {"column": "text", "min_value": 2, "mostly": mostly}
    expect = "ExpectColumnValueLengthsToBeBetween"
    spec = ExpectationSpec("long", expect, arguments, "warning", "Write more.")
    (result,), _ = run_suites([spec], {"kept": frame})
    assert result.success is success
    assert result.result["unexpected_count"] == 2
    assert result.result["unexpected_percent"] == 50
    assert result.result["unexpected_index_list"] == [0, 3]


def test_an_expectation_that_breaks_in_one_part_is_broken(monkeypatch):
    """A pattern that is none is said to be so, however many parts there are."""
    monkeypatch.setattr(suites, "ROWS_AT_ONCE", 15)
    own = {"expect": "ExpectColumnValuesToMatchRegex", "column": "text", "regex": "("}
    with pytest.raises(InputError, match=r"data\.expectations\[0\]"):
        validate_rows(snapshot(FAULTY), settings(expectations=[own]))
