"""Which rows differ between two states of a data set, and which values between two flat records."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas

EXAMPLES = 3  # rows shown of each kind
LONGEST_EXAMPLE = 80  # characters


@dataclass(frozen=True)
class Change:
    """One value that two records do not share."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.key}: {_show(self.before)} -> {_show(self.after)}"


@dataclass(frozen=True)
class RowChanges:
    """What became of the rows, told by their normalised texts.

    Attributes:
        before: Number of rows then.
        after: Number of rows now.
        added: Rows whose text is new, or stands more often than before.
        removed: Likewise, gone.
        relabelled: Rows whose text stayed and whose label did not.
        moved: Texts that are in another split now.
        examples: For added, removed and relabelled, the first few, as text and label(s).
    """

    before: int
    after: int
    added: int
    removed: int
    relabelled: int
    moved: int
    examples: dict[str, list[str]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.relabelled or self.moved)


def compare_rows(before: pandas.DataFrame, after: pandas.DataFrame) -> RowChanges:
    """Match two tables' rows by the digest of their text.

    Args:
        before: Rows with columns key, text, label and split.
        after: Likewise.
    """
    former, latter = _group(before), _group(after)
    added, removed, relabelled = Counter[str](), Counter[str](), Counter[str]()
    for key in former.keys() | latter.keys():
        then, now = former.get(key, Counter()), latter.get(key, Counter())
        kept = (then & now).total()
        added[key] = max(0, now.total() - then.total())
        removed[key] = max(0, then.total() - now.total())
        relabelled[key] = min(then.total(), now.total()) - kept
    places = dict(zip(before["key"], before["split"], strict=True))
    moved = {
        key
        for key, split in zip(after["key"], after["split"], strict=True)
        if places.get(key, split) != split
    }
    examples = {
        "added": _pick(after, +added, latter, None),
        "removed": _pick(before, +removed, former, None),
        "relabelled": _pick(before, +relabelled, former, latter),
    }
    return RowChanges(
        before=len(before),
        after=len(after),
        added=added.total(),
        removed=removed.total(),
        relabelled=relabelled.total(),
        moved=len(moved),
        examples=examples,
    )


def _group(rows: pandas.DataFrame) -> dict[str, Counter[str]]:
    """Key -> how often it stands with each label."""
    groups: dict[str, Counter[str]] = {}
    for key, label in zip(rows["key"], rows["label"].fillna(""), strict=True):
        groups.setdefault(key, Counter())[label] += 1
    return groups


def _pick(
    rows: pandas.DataFrame,
    wanted: Counter[str],
    then: Mapping[str, Counter[str]],
    now: Mapping[str, Counter[str]] | None,
) -> list[str]:
    """The first rows, in the table's order, whose key is wanted."""
    chosen = rows[rows["key"].isin(wanted.keys())].drop_duplicates("key").head(EXAMPLES)
    shown = []
    for key, text in zip(chosen["key"], chosen["text"].fillna(""), strict=True):
        labels = "/".join(sorted(then[key]))
        if now is not None:
            labels += f" -> {'/'.join(sorted(now[key]))}"
        shown.append(f"{_shorten(str(text))!r} ({labels})")
    return shown


def find_added(before: pandas.DataFrame, after: pandas.DataFrame) -> pandas.DataFrame:
    """The rows that `compare_rows` counts as added, those of a text that stood before included.

    Without those, rows drawn at random from the same source would seem to differ: what repeats is
    short.
    """
    former = _group(before)
    left = {key: count.total() for key, count in former.items()}
    labels = after["label"].fillna("")
    unmatched = []
    for place, (key, label) in enumerate(zip(after["key"], labels, strict=True)):
        known = former.get(key)
        if known is not None and known[label]:
            known[label] -= 1
            left[key] -= 1
        else:
            unmatched.append((place, key))
    added = []
    for place, key in unmatched:
        if left.get(key):  # this row is an earlier one that was relabelled
            left[key] -= 1
        else:
            added.append(place)
    return after.iloc[added]


def find_new(before: pandas.DataFrame, after: pandas.DataFrame) -> pandas.DataFrame:
    """The rows of `after` whose text stands nowhere in `before`."""
    return after[~after["key"].isin(set(before["key"]))]


def compare_values(
    before: Mapping[str, Any], after: Mapping[str, Any], ignored: Sequence[str] = ()
) -> list[Change]:
    """The keys at which two flat mappings differ, in order; None where one lacks the key."""
    return [
        Change(key, before.get(key), after.get(key))
        for key in sorted({*before, *after} - set(ignored))
        if before.get(key) != after.get(key)
    ]


def _show(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return "(absent)" if value is None else _shorten(text)


def _shorten(text: str) -> str:
    return text if len(text) <= LONGEST_EXAMPLE else f"{text[: LONGEST_EXAMPLE - 3]}..."
