"""The answers that a row gives to its question, and where they stand in its context."""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

LONGEST_PRINTED = 100_000  # characters of a cell that is read as Python prints lists
MOST_PLACES = 100  # occurrences of an answer that are looked at
_WORD = re.compile(r"\w")


@dataclass(frozen=True)
class Answers:
    """What a cell of the answers column says; no texts where the question has no answer.

    starts: where each text begins in the context, in characters, None where that is not said.
    """

    texts: tuple[str, ...] = ()
    starts: tuple[int | None, ...] = ()


@dataclass(frozen=True)
class Place:
    """Where an answer stands in its context, in characters, the end exclusive.

    moved: the start that is given is wrong, and this is the nearest occurrence. ambiguous: no start
    is given, and the answer stands there more than once.
    """

    start: int
    end: int
    moved: bool = False
    ambiguous: bool = False


def read_answers(cell: str | None) -> Answers | None:
    """Read a cell in any of the usual forms; None where it cannot be read.

    The forms are SQuAD's list of {text, answer_start}, the mapping of two lists that Hugging Face's
    data sets have, either of them as Python prints it, a list of texts, and a text alone. A blank
    cell and an empty list say that there is no answer.
    """
    if cell is None or not cell.strip():
        return Answers()
    value = _parse(cell.strip())
    if isinstance(value, dict):
        return _read_mapping(value)
    if isinstance(value, list):
        if all(isinstance(item, str) for item in value):
            return _pair(value, [None] * len(value))
        if all(isinstance(item, dict) for item in value):
            texts = [item.get("text") for item in value]
            return _pair(texts, [item.get("answer_start") for item in value])
        return _pair([cell], [None])  # such as [1], a footnote's number
    return (
        None
        if re.match(r"\{\s*['\"](text|answer_start)['\"]\s*:", cell)
        else Answers((cell,), (None,))
    )


def _parse(cell: str) -> Any:
    """The list or mapping that a cell holds, as JSON or as Python prints it, or None."""
    if cell[0] not in "[{":
        return None
    # What Python prints is parsed at hundreds of times its size.
    for parse in (json.loads, ast.literal_eval)[: 2 if len(cell) <= LONGEST_PRINTED else 1]:
        try:
            value = parse(cell)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
        return value if isinstance(value, dict | list) else None
    return None


def _read_mapping(value: dict[Any, Any]) -> Answers | None:
    texts, starts = value.get("text"), value.get("answer_start")
    if isinstance(texts, str):
        texts, starts = [texts], starts if isinstance(starts, list) else [starts]
    if not isinstance(texts, list):
        return None
    return _pair(texts, starts if isinstance(starts, list) else [None] * len(texts))


def _pair(texts: list[Any], starts: list[Any]) -> Answers | None:
    if len(texts) != len(starts) or not all(isinstance(text, str) for text in texts):
        return None
    pairs = [
        (text, _read_start(start))
        for text, start in zip(texts, starts, strict=True)
        if text.strip()
    ]
    return Answers(tuple(text for text, _ in pairs), tuple(start for _, start in pairs))


def _read_start(value: Any) -> int | None:
    """A start as a number; what is none, or below 0 as in some exports, is not given."""
    try:
        start = None if isinstance(value, bool) else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return start if start is not None and start >= 0 else None


def find_place(text: str, start: int | None, context: str) -> Place | None:
    """Find an answer in its context; None where it does not stand there.

    Where the start is wrong, the nearest occurrence is taken; where none is given, the first that
    is not a part of a longer word. White space around the answer does not count.

    Args:
        text: The answer.
        start: Where it is said to begin, in characters, or None.
        context: What it is looked for in.
    """
    bare = text.strip()
    first = context.find(bare) if bare else -1
    if first < 0:
        return None
    if start is None:
        # Without a start, "US" is not meant to be found in "BUS".
        begin = _find_whole(bare, context, first)
        again = context.find(bare, first + 1) >= 0
        return Place(begin, begin + len(bare), ambiguous=again)
    start += len(text) - len(text.lstrip())
    if context.startswith(bare, start):
        return Place(start, start + len(bare))
    before = context.rfind(bare, 0, start + len(bare))
    after = context.find(bare, start)
    there = [place for place in (before, after) if place >= 0]
    begin = min(there, key=lambda place: abs(place - start))
    return Place(begin, begin + len(bare), moved=True)


def _find_whole(bare: str, context: str, first: int) -> int:
    """The first place of a text that is no part of a longer word, or else the first at all."""
    begin = first
    for _ in range(MOST_PLACES):
        around = (
            context[max(0, begin - 1) : begin],
            context[begin + len(bare) : begin + len(bare) + 1],
        )
        if not any(_WORD.fullmatch(one) for one in around):
            return begin
        if (begin := context.find(bare, begin + 1)) < 0:
            break
    return first


def find_first(answers: Answers, context: str) -> Place | None:
    """Where the first of the answers that stands in the context stands there."""
    for text, start in zip(answers.texts, answers.starts, strict=True):
        if (place := find_place(text, start, context)) is not None:
            return place
    return None
