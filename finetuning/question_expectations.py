"""What is expected of questions, contexts and answers before anything is trained on them.

The table is prepared once: columns named `tunesmith.…` hold what an expectation cannot see in one
cell alone, such as whether an answer stands in its context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from finetuning.answers import find_first, find_place, read_answers
from finetuning.expectations import (
    LEFT_OUT,
    SPLITS,
    ExpectationSpec,
    critical,
    filled,
    graded,
    warning,
)
from finetuning.spans import LONGEST_ANSWER
from finetuning.splits import digest_text
from finetuning.text_expectations import BLANK_SHARE, DAMAGE, HTML_ESCAPE, LONG_SHARE, LONGEST_TEXT

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Data

UNREADABLE_SHARE = 0.01  # cells of answers that cannot be read and are still only a warning
MISSING_SHARE = 0.05  # answers that do not stand in their context and are still only a warning
LONGEST_QUESTION = 1000  # characters

_UNREADABLE = "tunesmith.unreadable answers"
_MISSING = "tunesmith.answer not in context"
_MOVED = "tunesmith.answer not at its start"
_AMBIGUOUS = "tunesmith.answer in several places"
_UNSAID = "tunesmith.blank answers"
_LONG = "tunesmith.long answer"
_REPEATED = "tunesmith.repeated question"


@dataclass(frozen=True)
class Finding:
    """What there is to say about one row's answers; None where there is nothing to say."""

    unreadable: str | None = None
    missing: str | None = None
    moved: str | None = None
    ambiguous: str | None = None
    unsaid: str | None = None
    long: str | None = None


def prepare(rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
    """Add the helper columns that the built-in expectations look at; `rows` stays as it was.

    A helper column is null in every row that it has nothing to say about, but for the filled ones.
    """
    frame = rows.copy()
    for name in (columns.question, columns.context):
        frame[f"tunesmith.filled {name}"] = filled(frame[name])
    asked, contexts = (
        [cell if isinstance(cell, str) else "" for cell in frame[name]]
        for name in (columns.question, columns.context)
    )
    cells = [cell if isinstance(cell, str) else None for cell in frame[columns.answers]]
    findings = [
        examine(cell, question, context)
        for cell, question, context in zip(cells, asked, contexts, strict=True)
    ]
    for name, field in (
        (_UNREADABLE, "unreadable"),
        (_MISSING, "missing"),
        (_MOVED, "moved"),
        (_AMBIGUOUS, "ambiguous"),
        (_UNSAID, "unsaid"),
        (_LONG, "long"),
    ):
        frame[name] = _as_column([getattr(finding, field) for finding in findings], frame)
    pairs = [digest_text(*both) for both in zip(asked, contexts, strict=True)]
    again = frame.assign(pair=pairs).duplicated(["split", "pair"])
    again &= frame[f"tunesmith.filled {columns.question}"].notna()
    frame[_REPEATED] = frame[columns.question].where(again, None)
    return frame


def _as_column(values: list[str | None], frame: pandas.DataFrame) -> pandas.Series[str]:
    import pandas

    return pandas.Series(values, index=frame.index, dtype=object)


def examine(cell: str | None, question: str, context: str) -> Finding:
    """Hold one row's answers against its context."""
    answers = read_answers(cell)
    if answers is None:
        return Finding(unreadable=cell)
    if cell is None or not cell.strip():
        return Finding(unsaid=question or context)
    pairs = list(zip(answers.texts, answers.starts, strict=True))
    places = [(text, start, find_place(text, start, context)) for text, start in pairs]
    missing = [text for text, _, place in places if place is None]
    moved = [
        f"[{text}] said at {start}, found at {place.start}"
        for text, start, place in places
        if place is not None and place.moved
    ]
    ambiguous = [text for text, _, place in places if place is not None and place.ambiguous]
    learned = find_first(answers, context)
    words = context[learned.start : learned.end].split() if learned else []
    return Finding(
        missing=f"[{' | '.join(missing)}] {context}" if missing else None,
        moved="; ".join(moved) or None,
        ambiguous=" | ".join(ambiguous) or None,
        long=" ".join(words) if len(words) > LONGEST_ANSWER else None,
    )


def list_expectations(data: Data) -> tuple[ExpectationSpec, ...]:
    """The built-in expectations of questions, for the pipeline file's data section."""
    columns = data.columns
    return (
        *_text_expectations(columns.question, LONGEST_QUESTION),
        *_text_expectations(columns.context, LONGEST_TEXT),
        *_answer_expectations(columns.answers),
        *_row_expectations(columns.question, columns.context),
    )


def _text_expectations(column: str, longest: int) -> list[ExpectationSpec]:
    there = {"column": f"tunesmith.filled {column}"}
    lengths, no_match = "ExpectColumnValueLengthsToBeBetween", "ExpectColumnValuesToNotMatchRegex"
    specs = [
        *graded(
            BLANK_SHARE,
            f"{column} is neither null nor blank",
            f"Delete these rows, or fill in their {column}.",
            ("ExpectColumnValuesToNotBeNull", there),
        ),
        *graded(
            LONG_SHARE,
            f"{column} has at most {longest:,} characters",
            f"Split or shorten these; a {column} this long is mostly a mistake in the export.",
            (lengths, {**there, "max_value": longest}),
        ),
        warning(
            f"{column} has no broken encoding",
            "Export the table again as UTF-8, and take control characters out.",
            (no_match, {"column": column, "regex": DAMAGE}),
        ),
        warning(
            f"{column} has no HTML escapes",
            "Unescape the text where it is exported, as Python's html.unescape does, and count "
            "answer_start anew.",
            (no_match, {"column": column, "regex": HTML_ESCAPE}),
        ),
    ]
    return [replace(spec, column=column) for spec in specs]


def _answer_expectations(column: str) -> list[ExpectationSpec]:
    null = "ExpectColumnValuesToBeNull"
    checks = [
        *_show(
            _UNREADABLE,
            graded(
                UNREADABLE_SHARE,
                f"{column} can be read",
                "Give {text: [...], answer_start: [...]}, a list of {text, answer_start}, or the "
                "answer's text.",
                (null, {"column": _UNREADABLE}),
            ),
        ),
        *_show(
            _MISSING,
            graded(
                MISSING_SHARE,
                "every answer stands in its context",
                "Copy the answer from the context letter by letter. Nothing is learned from a row "
                "none of whose answers stands there.",
                (null, {"column": _MISSING}),
            ),
        ),
    ]
    warnings = {
        _MOVED: (
            "every answer stands at its answer_start",
            "The nearest place where it stands is used. Count answer_start in characters, not in "
            "bytes, from 0, in the context as it is here.",
        ),
        _AMBIGUOUS: (
            "no answer without answer_start stands in several places",
            "The first place is used: give answer_start where another is meant.",
        ),
        _UNSAID: (
            f"{column} is not blank",
            "A blank cell counts as a question that its context does not answer: write [] where "
            "that is meant, and fill in the answer where it is not.",
        ),
        _LONG: (
            f"every answer has at most {LONGEST_ANSWER} words",
            f"Shorten these: at most {LONGEST_ANSWER} tokens are ever answered.",
        ),
    }
    for helper, (name, remedy) in warnings.items():
        checks += _show(helper, [warning(name, remedy, (null, {"column": helper}))])
    return [replace(spec, column=column) for spec in checks]


def _show(column: str, specs: list[ExpectationSpec]) -> list[ExpectationSpec]:
    return [replace(spec, shown=(column,)) for spec in specs]


def _row_expectations(question: str, context: str) -> list[ExpectationSpec]:
    every = critical(
        "train, validation and test have rows",
        "Add contexts: all questions of one context go into one split.",
        ("ExpectColumnDistinctValuesToContainSet", {"column": "split", "value_set": [*SPLITS]}),
    )
    repeated = warning(
        f"no {question} stands twice with the same {context} in a split",
        "Put all answers to a question into one row: repeated rows weigh more than others.",
        ("ExpectColumnValuesToBeNull", {"column": _REPEATED}),
    )
    leak = warning(
        f"no {context} of train stands in validation or test too",
        "These rows were left out of training; delete them where they do not belong.",
        ("ExpectColumnValuesToNotBeInSet", {"column": "split", "value_set": [LEFT_OUT]}),
    )
    return [every, replace(repeated, column=question), replace(leak, column=context, scope="all")]
