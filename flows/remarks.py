"""What a user of `tunesmith init` should know of the data before the first run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from finetuning.numerals import count
from finetuning.passage_expectations import FEW_ROWS
from finetuning.splits import find_fewest
from flows.guessing import FEWEST_LABEL_ROWS, show

if TYPE_CHECKING:
    import pandas

    from flows.guessing import Guess
    from flows.image_guessing import ImageGuess
    from flows.writing_guessing import WritingGuess

NAMED = 3  # files


def remark_empty(table: pandas.DataFrame, guess: Guess) -> list[str]:
    """How many rows lack a text or a label."""
    rows = len(table)
    return [
        f"{rows - column.filled} of {rows} rows have no {column.name!r}"
        for column in (guess.text, guess.label)
        if column.filled < rows
    ]


def remark_rare(counts: Mapping[str, int]) -> list[str]:
    """Which labels have hardly any rows."""
    rare = [label for label, count in counts.items() if count < FEWEST_LABEL_ROWS]
    if not rare:
        return []
    listed = ", ".join(show(label) for label in rare[:5]) + (", ..." if len(rare) > 5 else "")
    verb = "has" if len(rare) == 1 else "have"
    said = f"{count(len(rare), 'label')} {verb} fewer than {FEWEST_LABEL_ROWS} rows"
    return [f"{said}: {listed}"]


def remark_images(guess: ImageGuess) -> list[str]:
    """Which images are missing or cannot be read."""
    said = []
    if guess.missing:
        said.append(f"paths that lead to no file: {guess.missing} (validation will name them)")
    if guess.unread:
        listed = ", ".join(guess.unread[:NAMED])
        more = f" and {len(guess.unread) - NAMED} more" if len(guess.unread) > NAMED else ""
        many = f"{len(guess.unread)} of {count(guess.looked_at, 'file')} looked at cannot be read"
        said.append(f"{many} as an image: {listed}{more}")
    return said


def remark_answers(guess: WritingGuess) -> list[str]:
    """How many questions have an answer that does not stand in their context."""
    if not guess.unfound:
        return []
    said = f"{guess.unfound} of {guess.looked_at} questions looked at have no answer in their"
    return [f"{said} context (validation will name them)"]


def remark_few(guess: WritingGuess) -> list[str]:
    """Whether a split gets so few texts that its perplexity moves by chance."""
    if guess.smallest is None or guess.smallest >= FEW_ROWS:
        return []
    return [
        f"the smallest split has {count(guess.smallest, 'row')}: below {FEW_ROWS} perplexity moves "
        f"by chance. Some {find_fewest(FEW_ROWS)} {guess.things} would do, {guess.rows} are here"
    ]
