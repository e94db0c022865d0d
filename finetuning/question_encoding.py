"""From a table's questions, contexts and answers to windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.answers import find_first, read_answers
from finetuning.errors import wrong
from finetuning.expectations import filled
from finetuning.pieces import Pieces, digest_cells
from finetuning.tokenization import load_tokenizer
from finetuning.windows import (
    NOWHERE,
    Frame,
    Windows,
    cut_windows,
    find_frame,
    join,
    load_rows,
    save_rows,
    tokenize,
)

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Training

__all__ = ["find_usable", "load_rows", "make_example", "open_encoder", "save_rows", "vary"]

FEWEST_TOKENS = 8  # of question and context together in a window


@dataclass(frozen=True)
class QuestionEncoder:
    """A tokenizer, what it is to read, and how long contexts are cut."""

    tokenizer: Any
    frame: Frame
    columns: Columns
    max_length: int
    stride: int

    def encode(
        self,
        rows: pandas.DataFrame,
        labels: np.ndarray,
        title: str = "encoding",
        learning: bool = False,
    ) -> Windows:
        """See `problem.Encoder`; a question or context that is missing is empty."""
        return self.join(self.cut(rows, title), labels, learning)

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """See `pieces.Maker`."""
        columns = self.columns
        return digest_cells(rows, [columns.question, columns.context, columns.answers])

    def cut(self, rows: pandas.DataFrame, title: str = "encoding") -> Pieces:
        """Each question's windows."""
        asked, contexts = (
            [str(cell) for cell in rows[name].fillna("")]
            for name in (self.columns.question, self.columns.context)
        )
        if self.columns.answers in rows:
            cells = [None if cell != cell else cell for cell in rows[self.columns.answers]]
        else:
            cells = [None] * len(rows)
        spans = [_find_span(cell, context) for cell, context in zip(cells, contexts, strict=True)]
        questions = tokenize(self.tokenizer, asked, f"{title}: questions")
        texts = tokenize(self.tokenizer, contexts, f"{title}: contexts")
        limit = min(self.max_length, self.tokenizer.model_max_length)
        windows = [
            list(
                cut_windows(
                    questions[question], texts[context], span, self.frame, limit, self.stride
                )
            )
            for question, context, span in zip(asked, contexts, spans, strict=True)
        ]
        return take_apart(join(windows, spans), len(rows))

    def join(
        self,
        pieces: Pieces,
        labels: np.ndarray,  # noqa: ARG002 - questions have none
        learning: bool = False,  # noqa: ARG002 - windows are the same either way
    ) -> Windows:
        """See `problem.Encoder`."""
        return put_together(pieces)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(folder)


def _find_span(cell: str | None, context: str) -> tuple[int, int]:
    answers = read_answers(cell)
    place = None if answers is None else find_first(answers, context)
    return (NOWHERE, NOWHERE) if place is None else (place.start, place.end)


def open_encoder(
    folder: Path,
    columns: Columns,
    training: Training,
    data: Path | None = None,  # noqa: ARG001 - every problem's part is called alike
) -> QuestionEncoder:
    """The encoder of a base model, or of a model that was trained from one.

    Raises:
        InputError: The tokenizer says not where its tokens stand, or puts no token before a text
            that could say that there is no answer; or training.max_length leaves no room.
    """
    tokenizer = load_tokenizer(folder)
    remedy = "Give an encoder such as BERT, RoBERTa or MiniLM with a fast tokenizer."
    if not tokenizer.is_fast:
        found = f"{type(tokenizer).__name__}, which does not say where a token stands in the text"
        raise wrong("model.base", found, remedy)
    frame = find_frame(tokenizer)
    if not frame.before:
        found = f"{type(tokenizer).__name__}, which puts no token before a text"
        raise wrong("model.base", found, remedy)
    if training.max_length < frame.size + FEWEST_TOKENS:
        least = f"{frame.size + FEWEST_TOKENS} tokens leave room for a question and its context."
        raise wrong("training.max_length", training.max_length, f"Give more: {least}")
    return QuestionEncoder(tokenizer, frame, columns, training.max_length, training.stride)


def find_usable(rows: pandas.DataFrame, columns: Columns) -> pandas.Series[bool]:
    """The rows with a question, a context, and answers that can be used.

    What trains or chooses an epoch needs an answer that stands in its context, or none at all. A
    test row is also scored where its answers cannot be found, as the official scorer does.
    """
    usable = filled(rows[columns.question]).notna() & filled(rows[columns.context]).notna()
    cells: Sequence[str | None] = rows[columns.answers].tolist()
    tested = rows["split"] == "test" if "split" in rows else [False] * len(rows)
    found = [
        _can_use(cell, context or "", test)
        for cell, context, test in zip(cells, rows[columns.context], tested, strict=True)
    ]
    return usable & np.array(found, bool)


def _can_use(cell: str | None, context: str, is_test: bool) -> bool:
    answers = read_answers(cell)
    if answers is None:
        return False
    return is_test or not answers.texts or find_first(answers, context) is not None


def make_example(
    rows: pandas.DataFrame,
    columns: Columns,  # noqa: ARG001 - every problem's part is called alike
    data: Path,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """The rows as the served model takes them: a text that is missing is empty."""
    return rows.fillna("").astype(str)


def vary(rows: Windows, training: Training) -> Windows:  # noqa: ARG001 - likewise
    """The rows as they are: nothing is changed at random in a text."""
    return rows


def take_apart(rows: Windows, questions: int) -> Pieces:
    """Each question's windows by themselves; rows are all windows of so many questions."""
    counts = np.bincount(rows.sources, minlength=questions)
    windows = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
    first = windows[:-1]  # every question has a window, and its span stands in each of them
    by_token = {"tokens": rows.tokens, "places": rows.places}
    if rows.types is not None:
        by_token["types"] = rows.types
    by_window = {"lengths": rows.lengths, "starts": rows.starts, "ends": rows.ends}
    return Pieces(
        {**by_token, **by_window, "spans": rows.spans[first]},
        {
            **dict.fromkeys(by_token, rows.offsets[windows]),
            **dict.fromkeys(by_window, windows),
            "spans": np.arange(questions + 1),
        },
    )


def put_together(pieces: Pieces) -> Windows:
    """The windows of all questions, from what `take_apart` made of each."""
    values, counts = pieces.values, np.diff(pieces.offsets["lengths"])
    return Windows(
        tokens=values["tokens"],
        offsets=np.concatenate([[0], np.cumsum(values["lengths"], dtype=np.int64)]),
        starts=values["starts"],
        ends=values["ends"],
        sources=np.repeat(np.arange(len(counts)), counts),
        spans=np.repeat(values["spans"], counts, axis=0),
        places=values["places"],
        types=values.get("types") if len(counts) else None,
    )
