"""The schedule of a pipeline file."""

import pytest
from pydantic import TypeAdapter, ValidationError

from finetuning.schedules import Interval, Schedule, check_cron

ADAPTER = TypeAdapter(Schedule)


@pytest.mark.parametrize(
    "text",
    [
        "* * * * *",
        "0 6 * * mon",
        "*/15 8-18 * * 1-5",
        "5,35 0 1 jan,jul *",
        "0 0 31 12 7",
        "0-30/5 * * * *",
    ],
)
def test_what_cron_takes_is_taken(text):
    """Stars, numbers, names, lists, ranges and steps, as crontab(5) has them."""
    assert check_cron(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 6 * *", "not 4"),
        ("61 * * * *", "'61' is no minute: write 0 to 59"),
        ("0 24 * * *", "hour"),
        ("0 0 0 * *", "day of the month"),
        ("0 0 * foo *", "month"),
        ("0 0 * * 8", "day of the week"),
        ("*/0 * * * *", "minute"),
        ("30-10 * * * *", "minute"),
        ("@daily", "not 1"),
        ("² * * * *", "minute"),
    ],
)
def test_what_no_cron_would_take_is_refused(text, said):
    """The field that is wrong is named, with what it may hold."""
    with pytest.raises(ValueError, match=said):
        check_cron(text)


def test_an_interval_is_at_least_a_minute():
    """{every: 3600} is an interval; 59 seconds are refused."""
    assert ADAPTER.validate_python({"every": 3600}) == Interval(every=3600)
    with pytest.raises(ValidationError, match="60"):
        ADAPTER.validate_python({"every": 59})
