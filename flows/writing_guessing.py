"""From questions about contexts, or texts to go on from, to a first pipeline file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from finetuning import passages, squad
from finetuning.advice import Size, advise
from finetuning.answers import find_first, read_answers
from finetuning.config import Columns
from finetuning.numerals import count
from finetuning.passage_expectations import FEWEST_ROWS
from finetuning.passages import PASSAGE, TEXT_FILE
from finetuning.snapshots import RESERVED, SPLITS
from finetuning.splits import assign_splits, find_fewest
from flows.guessing import BASE, BASE_WIDTH, look_at, may_be_label, quote, refuse, show
from tasks.data_state import DATA

if TYPE_CHECKING:
    import pandas

QUESTION_FILE = ".json"
QUESTIONS = {
    "question": ("question", "query"),
    "context": ("context", "passage", "paragraph", "document"),
    "answers": ("answers", "answer"),
}
COMPLETIONS = {
    "prompt": ("prompt", "instruction", "input"),
    "completion": ("completion", "response", "output", "reply"),
}
WRITER, WRITER_PARAMETERS = "distilbert/distilgpt2", 82_000_000
LOOKED_AT = 500  # questions whose answer is looked for in its context
COUNTED = 5_000  # texts: of as many, every split has enough
FEWEST_FOUND = 0.5  # share of answers that stand in their contexts, before a table is taken for one


@dataclass(frozen=True)
class WritingGuess:
    """What a file of questions or of texts seems to hold."""

    problem: str
    columns: Mapping[str, str]
    rows: int
    unanswered: int
    """Questions of those looked at that have no answer."""
    unfound: int
    """Questions of those looked at whose answer does not stand in its context."""
    looked_at: int
    things: str
    """What a row is, in the plural."""
    smallest: int | None = None
    """Texts in the smallest split; None where there are many, or where rows are questions."""


def guess_file(source: Path) -> WritingGuess | None:
    """Look at a file in SQuAD's shape, or a text file; None where it is neither by its ending.

    Raises:
        InputError: It cannot be read, or most answers do not stand in their contexts.
    """
    columns = Columns.model_validate({})
    if source.suffix.lower() == TEXT_FILE:
        rows = passages.read(source.parent, source.name, "--data", columns)[1]
        import pandas

        return _guess_texts(
            {"text": columns.text}, pandas.DataFrame(rows, columns=[columns.text]), "passages"
        )
    if source.suffix.lower() != QUESTION_FILE:
        return None
    import pandas

    names, rows = squad.read(source.parent, source.name, "--data", columns)
    guess = guess_writing(pandas.DataFrame(rows, columns=names, dtype=object))
    if guess is None:
        remedy = "Give questions about contexts, with answers that stand in them."
        raise refuse(f"{source.name} with the columns {', '.join(map(show, names))}", remedy)
    return guess


def guess_writing(table: pandas.DataFrame) -> WritingGuess | None:
    """Whether a table's columns and cells are those of questions, or of prompts and completions."""
    asked = _name_columns(table, QUESTIONS)
    if asked is not None:
        guess = _look_at_answers(table, asked)
        answered = guess.looked_at - guess.unanswered
        if answered and guess.unfound <= (1 - FEWEST_FOUND) * answered:
            return guess
    told = _name_columns(table, COMPLETIONS)
    # A reply out of a few is a label.
    if told is None or may_be_label(look_at(table[told["completion"]], told["completion"])):
        return None
    return _guess_texts(told, table, "prompts")


def _name_columns(
    table: pandas.DataFrame, known: Mapping[str, tuple[str, ...]]
) -> dict[str, str] | None:
    """Role -> column by the names that each role usually has; None unless all are there."""
    there = {str(name).strip().lower(): str(name) for name in table.columns}
    found = {
        role: next((there[name] for name in names if name in there), None)
        for role, names in known.items()
    }
    columns = {role: name for role, name in found.items() if name is not None}
    return (
        columns if len(columns) == len(known) and not set(RESERVED) & {*columns.values()} else None
    )


def _look_at_answers(table: pandas.DataFrame, columns: dict[str, str]) -> WritingGuess:
    chosen = table.iloc[:: max(1, len(table) // LOOKED_AT)]
    unanswered = unfound = 0
    for cell, context in zip(chosen[columns["answers"]], chosen[columns["context"]], strict=True):
        answers = read_answers(cell)
        if answers is not None and not answers.texts:
            unanswered += 1
        elif answers is None or find_first(answers, context or "") is None:
            unfound += 1
    counts = (len(table), unanswered, unfound, len(chosen))
    return WritingGuess("question-answering", columns, *counts, "questions")


def _guess_texts(columns: Mapping[str, str], table: pandas.DataFrame, things: str) -> WritingGuess:
    """As many texts as a run needs, or a refusal that says how many are here."""
    smallest = None
    if len(table) < COUNTED:
        smallest = _count_smallest(table, Columns.model_validate(dict(columns)))
    if smallest is not None and smallest < FEWEST_ROWS:
        fewest = find_fewest(FEWEST_ROWS)
        length = f", about {fewest * PASSAGE:,} characters" if things == "passages" else ""
        remedy = (
            f"Give at least {fewest} {things} that differ{length}: each of train, validation and "
            f"test needs {FEWEST_ROWS}."
        )
        raise refuse(count(len(table), things.removesuffix("s")), remedy)
    return WritingGuess("causal-lm", columns, len(table), 0, 0, 0, things, smallest)


def _count_smallest(table: pandas.DataFrame, columns: Columns) -> int:
    """Rows of the smallest split, when a run splits the table."""
    keys = passages.measure(Path(), table, columns)["key"]
    rows = assign_splits(table[[]].assign(key=keys, label="", split="train"))
    return min(int((rows["split"] == split).sum()) for split in SPLITS)


def write_writing_pipeline(name: str, file: str, source: str, guess: WritingGuess) -> str:
    """The pipeline file's text: every guess with its reason, to be checked."""
    asked = guess.problem == "question-answering"
    named = ", ".join(f"{role}: {quote(column)}" for role, column in guess.columns.items())
    lines = [
        f"# Made by `tunesmith init` from {show(source)}, {guess.rows} {guess.things}.",
        '# Lines with "check" are guesses.',
        f"name: {quote(name)}",
        f"problem: {guess.problem}",
        "data:",
        f"  path: {DATA}/{quote(name)}",
        f"  train: {file}  # validation and test are split off it; what is asked or told alike "
        "stays together",
        f"  columns: {{{named}}}  # check",
        *(_suggest_questions(guess) if asked else _suggest_texts(guess)),
    ]
    return "\n".join(lines) + "\n"


def _suggest_questions(guess: WritingGuess) -> list[str]:
    strategy, epochs, rate = advise(guess.problem, guess.rows, 0, Size(BASE_WIDTH))
    share = guess.unanswered / guess.looked_at
    return [
        "model:",
        f"  base: {BASE}  # small, quick on a CPU, and made for English",
        "strategy:",
        f"  kind: {strategy.value}  # {strategy.reason}",
        "training:",
        f"  epochs: {epochs.value}  # {epochs.reason}",
        "  batch_size: 8",
        f"  learning_rate: {rate.value:.1e}  # {rate.reason}",
        "  max_length: 384  # longer contexts are cut in windows that overlap by stride",
        "  stride: 128",
        "gate:",
        f"  metric: f1  # {share:.0%} of the questions looked at have no answer",
        "  minimum: 0.2  # check: the report says what the nearest sentence scores. Raise it.",
    ]


def _suggest_texts(guess: WritingGuess) -> list[str]:
    strategy, epochs, rate = advise(guess.problem, guess.rows, 0, Size(None, WRITER_PARAMETERS))
    return [
        "model:",
        f"  base: {WRITER}  # 82 million parameters, made for English; slow without a GPU",
        "strategy:",
        f"  kind: {strategy.value}  # {strategy.reason}",
        "training:",
        f"  epochs: {epochs.value}  # {epochs.reason}",
        "  batch_size: 8",
        f"  learning_rate: {rate.value:.1e}  # {rate.reason}",
        "  max_length: 256",
        "  stride: 128",
        "gate:",
        "  metric: perplexity",
        "  margin: 0.2  # of perplexity: a loss of this size would not matter",
        "  minimum: 100  # check: a ceiling, for less is better. Lower it after the first run.",
    ]
