"""When a pipeline runs by itself: the pipeline file's `schedule`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from finetuning.sections import Section

SHORTEST = 60  # seconds
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
# Name, smallest and largest value, and names that stand for values from the smallest on.
_FIELDS: tuple[tuple[str, int, int, list[str]], ...] = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 7, _DAYS),
)
_ITEM = re.compile(r"(\*|\w+(?:-\w+)?)(?:/(\d{1,4}))?")


class Interval(Section):
    """A fixed time between two runs."""

    every: int = Field(ge=SHORTEST, description="Seconds between two scheduled runs.")


def check_cron(text: str) -> str:
    """A cron expression of five fields, as crontab(5) has them: ``minute hour day month weekday``.

    Raises:
        ValueError: It is none, or one of its fields cannot be met.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"a cron expression has five fields (minute hour day month weekday), not {len(fields)}"
        )
    for field, (name, least, most, names) in zip(fields, _FIELDS, strict=True):
        for item in field.lower().split(","):
            if not _is_item(item, least, most, names):
                raise ValueError(f"{item!r} is no {name}: write {least} to {most}, *, a-b or */n")
    return text


def _is_item(item: str, least: int, most: int, names: list[str]) -> bool:
    parts = _ITEM.fullmatch(item)
    if parts is None or parts[2] == "0":
        return False
    bounds = [] if parts[1] == "*" else parts[1].split("-")
    values = [least + names.index(one) if one in names else _to_number(one) for one in bounds]
    return all(least <= value <= most for value in values) and values == sorted(values)


def _to_number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1


Schedule = Annotated[str, AfterValidator(check_cron)] | Interval
