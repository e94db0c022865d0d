"""Who was champion when: one record a change, and the periods that they tell of.

The registry's alias says who is champion now; a record says how that came about. Each holds the
version it replaced, so that a change made elsewhere shows in the record after it, or in the alias.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

PROMOTED = "promoted"
ROLLED_BACK = "rolled back"
PUT_BACK = "put back"  # a champion set outside that the gate had not let pass
ELSEWHERE = "set outside tunesmith"
LONGEST = 4900  # characters; a registered model's tag is a column of 5,000 in MLflow's database
LONGEST_REASON = 1000  # characters that a person may give


@dataclass(frozen=True)
class Change:
    """One change of champion.

    Attributes:
        number: Its place among the changes, from 1.
        mark: Tells two changes apart that were begun at once.
        version: The champion from then on.
        replaced: The champion until then, None where there was none.
        previous: The version that a rollback would bring back, None where there is none.
        how: `promoted` or `rolled back`.
        at: When, ISO 8601 in UTC.
        by: Who.
        why: The reason given, None where none was.
        verdict: What the gate had decided, None where there was no verdict.
        override: Why the gate's refusal was set aside, None where it was not.
        done: Whether the aliases have followed.
    """

    number: int
    mark: str
    version: str
    replaced: str | None
    previous: str | None
    how: str
    at: str
    by: str
    why: str | None = None
    verdict: dict[str, Any] | None = None
    override: str | None = None
    done: bool = False

    def to_text(self) -> str:
        """As JSON of at most LONGEST characters; of the verdict, the last reasons go first."""
        change = self
        text = json.dumps(asdict(change), ensure_ascii=False)
        while len(text) > LONGEST and change.verdict is not None:
            reasons = list(change.verdict.get("reasons", ()))[:-1]
            change = replace(change, verdict=change.verdict | {"reasons": reasons})
            # A verdict that is long without its reasons goes as a whole.
            change = change if reasons else replace(change, verdict=None)
            text = json.dumps(asdict(change), ensure_ascii=False)
        return text

    @staticmethod
    def from_text(text: str) -> Change | None:
        """The change that was written, or None where the text is none."""
        try:
            change = Change(**json.loads(text))
        except (TypeError, ValueError):
            return None
        whole = isinstance(change.number, int) and isinstance(change.version, str)
        return change if whole else None


@dataclass(frozen=True)
class Period:
    """A version's time as champion.

    Attributes:
        version: The version.
        since: Its beginning, None where the change was made elsewhere.
        until: Its end, None where it is champion still or was replaced elsewhere.
        present: Whether it is champion still.
        how: `promoted`, `rolled back`, or `set outside tunesmith`.
        by: Who made it champion, None where that is not known.
        why: The reason given.
        verdict: What the gate had decided.
        override: Why the gate's refusal was set aside.
        after: Where its beginning is not known, the change that it came after.
        before: Where its end is not known, the change that it came before.
    """

    version: str
    since: str | None
    until: str | None
    present: bool
    how: str
    by: str | None = None
    why: str | None = None
    verdict: dict[str, Any] | None = None
    override: str | None = None
    after: str | None = None
    before: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def tell_periods(changes: Sequence[Change], champion: str | None) -> list[Period]:
    """The champions from the first on, with what is known of each.

    Args:
        changes: In their order. One whose aliases did not follow is left out.
        champion: The version that the alias points at now.
    """
    periods: list[Period] = []
    for change in changes:
        if not change.done and change.version != champion:
            continue
        last = periods[-1].version if periods else None
        if change.replaced == last:
            if periods:
                periods[-1] = replace(periods[-1], until=change.at)
        else:
            if periods:
                periods[-1] = replace(periods[-1], before=change.at)
            if change.replaced is not None:
                since = periods[-1].since if periods else None
                held = Period(change.replaced, None, change.at, False, ELSEWHERE, after=since)
                periods.append(held)
        periods.append(
            Period(
                change.version,
                change.at,
                None,
                False,
                change.how,
                change.by,
                change.why,
                change.verdict,
                change.override,
            )
        )
    if periods and periods[-1].version == champion:
        periods[-1] = replace(periods[-1], present=True)
    elif champion is not None:
        since = periods[-1].since if periods else None
        periods.append(Period(champion, None, None, True, ELSEWHERE, after=since))
    return periods


def find_earlier(periods: Sequence[Period], candidates: Collection[str]) -> str | None:
    """The latest champion among the candidates, None where none of them ever was."""
    past = (period.version for period in reversed(periods))
    return next((version for version in past if version in candidates), None)
