"""What is compared of the rows of two states of a data set: labels, slices, lengths, words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from finetuning.answers import read_answers
from finetuning.shifts import Shift, compare_numbers
from finetuning.snapshots import list_columns

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Data

ANSWERABLE = ("answerable", "unanswerable", "unreadable")
SHOWN_WORDS = 10  # of the most frequent new ones
UNKNOWN_WORDS = "unknown words of the new texts, share a row"
_WORD = re.compile(r"\w+(?:['\u2019]\w+)*")
_UNWORDED = ("image", "answers", "label")  # roles whose cells are not read as words


@dataclass(frozen=True)
class Vocabulary:
    """The words of rows whose text is new, held against those of the training rows before.

    Attributes:
        words: Words of the new texts, repetitions counted.
        unknown: Share of them that stood in no training row before (the out-of-vocabulary rate).
        usual: That share in the rows before that were not trained on: what is usual for new rows;
            None where there were none.
        frequent: The unknown words that stand in most of these rows, and in how many.
    """

    words: int
    unknown: float
    usual: float | None
    frequent: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        usual = "" if self.usual is None else f", against {self.usual:.1%} in the held-out rows"
        shown = ", ".join(f"{word} ({rows:,})" for word, rows in self.frequent)
        listed = f"; most rows have: {shown}" if shown else ""
        return (
            f"{self.unknown:.1%} of the {self.words:,} words of the new texts stood in no "
            f"training row before{usual}{listed}"
        )


def find_traits(rows: pandas.DataFrame, data: Data, kind: str) -> pandas.DataFrame:
    """Columns of text (shares are compared) and of numbers (distributions are compared).

    Lengths are in characters, of missing cells 0; an image's sides are in pixels, missing where
    it cannot be read.

    Args:
        rows: A snapshot's rows.
        data: The pipeline file's `data`.
        kind: The pipeline file's `problem`.
    """
    import pandas

    found = pandas.DataFrame(index=rows.index)
    for role, name in list_columns(data.columns, kind):
        if role == "label":
            found["labels"] = rows[name].astype(object)
        elif role == "answers":
            found["questions with an answer"] = [_find_answerable(cell) for cell in rows[name]]
        elif role == "image":
            for side in ("width", "height"):
                found[f"image {side} in pixels"] = rows[f"image.{side}"].astype(float)
        else:
            lengths = rows[name].fillna("").astype(str).str.len()
            found[f"{role.replace('_', ' ')} length in characters"] = lengths.astype(float)
    for name in data.slices:
        if name in rows:
            found[f"slice {name}"] = rows[name].astype(object)
    return found


def _find_answerable(cell: str | None) -> str:
    answers = read_answers(cell if isinstance(cell, str) else None)
    return ANSWERABLE[2 if answers is None else int(not answers.texts)]


def join_words(rows: pandas.DataFrame, data: Data, kind: str) -> pandas.Series[str]:
    """What each row says in words, of all columns that are read as such; empty where none is."""
    import pandas

    words = pandas.Series("", index=rows.index)
    for role, name in list_columns(data.columns, kind):
        if role not in _UNWORDED:
            words = words + " " + rows[name].fillna("").astype(str)
    return words


def split_words(text: str) -> list[str]:
    """The words of a text, in lower case; numbers are words."""
    return _WORD.findall(text.lower())


def compare_words(before: pandas.DataFrame, added: pandas.DataFrame) -> tuple[Vocabulary, Shift]:
    """What words new texts bring, and whether more of them are unknown than is usual.

    Usual is what rows before that were not trained on have: their share of unknown words a row is
    compared with that of the new texts, by `compare_numbers`. Neither texts stand in train.

    Args:
        before: Rows with columns split and words.
        added: Likewise, of rows whose text did not stand there.
    """
    trained = before["split"] == "train"
    known = {word for text in before.loc[trained, "words"] for word in split_words(text)}
    held_out = [split_words(text) for text in before.loc[~trained, "words"]]
    new = [split_words(text) for text in added["words"]]
    frequent = Counter(word for words in new for word in set(words) - known)
    ordered = sorted(frequent.items(), key=lambda item: (-item[1], item[0]))
    rate = _rate(new, known)
    shift = compare_numbers(
        UNKNOWN_WORDS, _rate_rows(held_out, known), _rate_rows(new, known), "mean"
    )
    words = sum(map(len, new))
    found = Vocabulary(words, rate or 0.0, _rate(held_out, known), tuple(ordered[:SHOWN_WORDS]))
    return found, shift


def _rate(texts: Iterable[list[str]], known: set[str]) -> float | None:
    counts = [(sum(word not in known for word in words), len(words)) for words in texts]
    total = sum(size for _, size in counts)
    return sum(unknown for unknown, _ in counts) / total if total else None


def _rate_rows(texts: Iterable[list[str]], known: set[str]) -> pandas.Series[float]:
    import pandas

    rates = (_rate([words], known) for words in texts)
    return pandas.Series([rate for rate in rates if rate is not None], dtype=float)
