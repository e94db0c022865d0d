"""Who was champion when, told from records written down by hand."""

import json
from dataclasses import replace

import pytest

from finetuning.succession import (
    ELSEWHERE,
    LONGEST,
    PROMOTED,
    ROLLED_BACK,
    Change,
    find_earlier,
    tell_periods,
)


def make(number, version, replaced, how=PROMOTED, **facts):
    """A change that was done, at the minute of its number."""
    at = f"2026-01-01T00:{number:02}:00+00:00"
    facts = {"done": True} | facts
    return Change(number, f"m{number}", version, replaced, replaced, how, at, "ann", **facts)


def outline(periods):
    """Version, minutes and presence of each period."""
    return [
        (one.version, *(at and int(at[14:16]) for at in (one.since, one.until)), one.present)
        for one in periods
    ]


def test_each_period_ends_where_the_next_begins():
    """Two promotions and a rollback: three periods, the last one present."""
    changes = [make(1, "1", None), make(2, "2", "1"), make(3, "1", "2", ROLLED_BACK)]
    periods = tell_periods(changes, "1")
    assert outline(periods) == [("1", 1, 2, False), ("2", 2, 3, False), ("1", 3, None, True)]
    assert [one.how for one in periods] == [PROMOTED, PROMOTED, ROLLED_BACK]


def test_a_change_made_elsewhere_shows_in_the_record_after_it():
    """Version 5 was set by hand between the changes 1 and 2: its beginning is not known."""
    periods = tell_periods([make(1, "1", None), make(2, "2", "5")], "2")
    assert outline(periods) == [
        ("1", 1, None, False), ("5", None, 2, False), ("2", 2, None, True),
    ]  # fmt: skip
    assert (periods[1].how, periods[1].by) == (ELSEWHERE, None)
    assert periods[0].before == periods[1].until
    assert periods[1].after == periods[0].since
    assert tell_periods([make(1, "1", None)], "4")[1].after == periods[0].since
    assert tell_periods([make(1, "1", None), make(2, "2", None)], "2")[0].before is not None


def test_a_change_made_elsewhere_shows_in_the_alias():
    """The alias differs from the last record, is gone, or was there before any record."""
    assert outline(tell_periods([make(1, "1", None)], "4")) == [
        ("1", 1, None, False), ("4", None, None, True),
    ]  # fmt: skip
    assert outline(tell_periods([make(1, "1", None)], None)) == [("1", 1, None, False)]
    assert outline(tell_periods([], "4")) == [("4", None, None, True)]
    assert outline(tell_periods([make(1, "1", "4")], "1")) == [
        ("4", None, 1, False), ("1", 1, None, True),
    ]  # fmt: skip
    assert tell_periods([], None) == []


def test_a_change_that_was_cut_off_is_told_only_if_it_happened():
    """The record of an unfinished change counts where the alias has followed."""
    changes = [make(1, "1", None), make(2, "2", "1", done=False)]
    assert outline(tell_periods(changes, "1")) == [("1", 1, None, True)]
    assert outline(tell_periods(changes, "2")) == [("1", 1, 2, False), ("2", 2, None, True)]


def test_the_earlier_champion_is_the_latest_candidate():
    """Of 1, 2, 3, 2: without 2 and 3 it is 1; nobody else ever was."""
    changes = [make(1, "1", None), make(2, "2", "1"), make(3, "3", "2"), make(4, "2", "3")]
    periods = tell_periods(changes, "2")
    assert find_earlier(periods, {"1", "3"}) == "3"
    assert find_earlier(periods, {"1", "9"}) == "1"
    assert find_earlier(periods, {"9"}) is None


def test_a_record_comes_back_as_it_was_written():
    """Text and back, with a verdict and letters beyond ASCII."""
    change = make(7, "2", "1", verdict={"promote": True, "reasons": ["ä ≥ 0.8"]}, override="“so”")
    assert Change.from_text(change.to_text()) == change


def test_a_record_fits_into_a_tag():
    """Reasons go from the last one on until the text fits; the rest of the verdict stays."""
    reasons = [str(number) * 1000 for number in range(9)]
    change = make(1, "1", None, verdict={"promote": False, "reasons": reasons})
    text = change.to_text()
    assert LONGEST - 1100 < len(text) <= LONGEST
    kept = json.loads(text)["verdict"]
    assert kept["promote"] is False
    assert kept["reasons"] == reasons[: len(kept["reasons"])]
    endless = replace(change, verdict={"reasons": ["x" * 9000]})
    assert json.loads(endless.to_text())["verdict"] is None


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "null", '{"number": 1}', '{"a": 1}'])
def test_what_is_no_record_is_none(text):
    """Damaged or foreign texts are not taken for records."""
    assert Change.from_text(text) is None
