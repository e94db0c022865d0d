"""What became of a data set's rows between two states of it, told in numbers and in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from finetuning.differences import compare_rows, find_added, find_new
from finetuning.shifts import Shift, compare_numbers, compare_shares, conclude, correct, describe
from finetuning.traits import compare_words

if TYPE_CHECKING:
    import pandas

MATCHED = ("key", "split", "text", "label", "words")  # all other columns are traits
ADDED = " of the rows added"


def compare_data(before: pandas.DataFrame, after: pandas.DataFrame) -> dict[str, Any]:
    """What became of the rows, and whether labels, lengths, slices and words shifted.

    All rows are compared with all, and the rows added with those before: a few strange rows among
    many do not move the whole. Words are those of the rows whose text is new.

    Args:
        before: Rows with the columns in MATCHED, and a column for each trait, see
            `traits.find_traits`.
        after: Likewise.

    Returns:
        `rows`, `shifts`, `vocabulary` (None without new rows or words), `verdict` (one sentence;
        None where no row changed) and `words` (lines for people), all JSON.
    """
    changes = compare_rows(before, after)
    found: dict[str, Any] = {"rows": asdict(changes), "shifts": [], "vocabulary": None}
    if not changes:
        return found | {"verdict": None, "words": [f"the same {changes.before:,} rows"]}
    counts = (
        f"{changes.added:,} rows added, {changes.removed:,} removed, {changes.relabelled:,} "
        f"relabelled ({changes.before:,} -> {changes.after:,}); {changes.moved:,} texts in "
        "another split"
    )
    words = []
    added, shifts = find_added(before, after), list(_compare_traits(before, after, ""))
    if 0 < len(added) < len(after):
        shifts += _compare_traits(before, added, ADDED)
    new = find_new(before, after)
    if new["words"].str.strip().any():
        vocabulary, shift = compare_words(before, new)
        shifts.append(shift)
        words.append(str(vocabulary))
        found["vocabulary"] = asdict(vocabulary)
    examples = [f"{kind}: {row}" for kind, some in changes.examples.items() for row in some]
    shifts = correct(shifts)
    verdict = conclude(shifts)
    return found | {
        "shifts": [asdict(shift) | {"verdict": shift.verdict} for shift in shifts],
        "verdict": verdict,
        "words": [counts, verdict, *words, *map(describe, shifts), *examples],
    }


def _compare_traits(
    before: pandas.DataFrame, after: pandas.DataFrame, suffix: str
) -> Iterable[Shift]:
    for name in before.columns.intersection(after.columns, sort=False):
        if name in MATCHED:
            continue
        compare = compare_numbers if before[name].dtype.kind == "f" else compare_shares
        yield compare(f"{name}{suffix}", before[name], after[name])


def tabulate(change: Mapping[str, Any]) -> list[dict[str, str]]:
    """The shifts as rows of a table for people."""
    return [
        {
            "what": shift["trait"],
            "verdict": shift["verdict"],
            "effect": "-" if shift["effect"] is None else f"{shift['effect']:.3f}",
            "measured by": shift["distance"],
            "test": shift["test"] or "-",
            "p": _show(shift["p_value"]),
            "corrected p": _show(shift["adjusted"]),
            "rows": f"{shift['rows'][0]:,} -> {shift['rows'][1]:,}",
        }
        for shift in change["shifts"]
    ]


def _show(p_value: float | None) -> str:
    return "-" if p_value is None else f"{p_value:.3g}"
