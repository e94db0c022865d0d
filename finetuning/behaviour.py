"""Behaviour tests: what a model must do on examples that someone wrote down, beside its metrics.

The three kinds are those of CheckList (Ribeiro et al. 2020, arXiv 2005.04118, section 2): minimum
functionality, invariance, and direction. They are held against what the registered model answers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from finetuning.sections import Section

Row = str | dict[str, str]
Pair = tuple[Row, Row]
SHOWN = 3  # failing cases that a verdict quotes


@dataclass(frozen=True)
class Answer:
    """What the model said of one input; `labels` is how many labels it chooses among."""

    label: str
    score: float
    labels: int


@dataclass(frozen=True)
class BehaviourResult:
    """How many of a test's cases passed, and some that did not."""

    name: str
    kind: str
    cases: int
    passed: int
    required: float
    failures: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether enough of them passed."""
        return self.passed >= self.required * self.cases - 1e-9

    def to_json(self) -> dict[str, Any]:
        """The fields by name, and whether enough passed."""
        return asdict(self) | {"failures": list(self.failures), "ok": self.ok}


class MinimumFunctionality(Section):
    """Inputs whose label is beyond doubt."""

    kind: Literal["minimum-functionality"] = Field(description="Inputs with a known label.")
    name: str = Field(min_length=1, description="What the test is about, in a few words.")
    inputs: tuple[Row, ...] = Field(
        min_length=1, description="Texts, or rows as {column: value} where there are more columns."
    )
    expected: str | tuple[str, ...] = Field(
        description="The label of all inputs, or a list with one label for each."
    )
    pass_rate: float = Field(1.0, gt=0, le=1, description="Share of the cases that must pass.")

    @model_validator(mode="after")
    def _check_lengths(self) -> MinimumFunctionality:
        if not isinstance(self.expected, str) and len(self.expected) != len(self.inputs):
            raise ValueError(f"{len(self.inputs)} inputs, but {len(self.expected)} expected labels")
        return self

    @property
    def named_labels(self) -> set[str]:
        """Labels that the test speaks of."""
        return {self.expected} if isinstance(self.expected, str) else set(self.expected)

    def list_rows(self) -> list[Row]:
        """The inputs to answer, in order."""
        return list(self.inputs)

    def check(self, answers: Sequence[Answer]) -> list[str | None]:
        """None for each case that passed, else what was wrong with it."""
        same = isinstance(self.expected, str)
        wanted = [self.expected] * len(self.inputs) if same else self.expected
        return [
            None if answer.label == label else f"{_show(row)} is {answer.label}, expected {label}"
            for row, label, answer in zip(self.inputs, wanted, answers, strict=True)
        ]


class Invariance(Section):
    """A change that must not matter."""

    kind: Literal["invariance"] = Field(description="A change that must not change the label.")
    name: str = Field(min_length=1, description="What the test is about, in a few words.")
    inputs: tuple[Row, ...] = Field((), description="Inputs in which `replace` is done.")
    replace: dict[str, str] = Field(
        default_factory=dict, description="What is replaced by what in the inputs' texts."
    )
    pairs: tuple[Pair, ...] = Field((), description="Or pairs of inputs that mean the same.")
    tolerance: float | None = Field(
        None, ge=0, le=1, description="How far the label's score may move; null: any distance."
    )
    pass_rate: float = Field(1.0, gt=0, le=1, description="Share of the cases that must pass.")

    @model_validator(mode="after")
    def _check_cases(self) -> Invariance:
        if bool(self.inputs) != bool(self.replace) or not (self.inputs or self.pairs):
            raise ValueError("give pairs, or inputs together with replace")
        for row in self.inputs:
            if _replace(row, self.replace) == row:
                raise ValueError(f"replace changes nothing in {_show(row)}")
        return self

    @property
    def named_labels(self) -> set[str]:
        """Labels that the test speaks of: none."""
        return set()

    def list_rows(self) -> list[Row]:
        """The inputs to answer: both of each pair, one after the other."""
        changed = [(row, _replace(row, self.replace)) for row in self.inputs]
        return [row for pair in (*changed, *self.pairs) for row in pair]

    def check(self, answers: Sequence[Answer]) -> list[str | None]:
        """None for each case that passed, else what was wrong with it."""
        return [self._check_pair(*case) for case in _pair_up(self.list_rows(), answers)]

    def _check_pair(self, one: Row, other: Row, first: Answer, second: Answer) -> str | None:
        said = f"{_show(one)} is {first.label} ({first.score:.3f}), {_show(other)} is "
        said += f"{second.label} ({second.score:.3f})"
        if first.label != second.label:
            return said
        moved = abs(first.score - second.score)
        return said if self.tolerance is not None and moved > self.tolerance else None


class Direction(Section):
    """A change that must move the score of a label one way."""

    kind: Literal["direction"] = Field(description="A change that must move a label's score.")
    name: str = Field(min_length=1, description="What the test is about, in a few words.")
    pairs: tuple[Pair, ...] = Field(min_length=1, description="Inputs before and after the change.")
    label: str = Field(min_length=1, description="Label whose score is looked at.")
    change: Literal["rise", "fall"] = Field(description="Which way the label's score must go.")
    by: float = Field(0.0, ge=0, le=1, description="How far it must go at least.")
    pass_rate: float = Field(1.0, gt=0, le=1, description="Share of the cases that must pass.")

    @property
    def named_labels(self) -> set[str]:
        """Labels that the test speaks of."""
        return {self.label}

    def list_rows(self) -> list[Row]:
        """The inputs to answer: both of each pair, one after the other."""
        return [row for pair in self.pairs for row in pair]

    def check(self, answers: Sequence[Answer]) -> list[str | None]:
        """None for each case that passed, else what was wrong with it."""
        return [self._check_pair(*case) for case in _pair_up(self.list_rows(), answers)]

    def _check_pair(self, one: Row, other: Row, first: Answer, second: Answer) -> str | None:
        before, after = bound_score(first, self.label), bound_score(second, self.label)
        # The least that the change can have been, given what the answers say of the label.
        least = after[0] - before[1] if self.change == "rise" else before[0] - after[1]
        if least > self.by or (self.by > 0 and math.isclose(least, self.by)):
            return None
        scores = " to ".join(_show_bounds(bounds) for bounds in (before, after))
        return f"{_show(one)} -> {_show(other)}: the score of {self.label} goes from {scores}"


Behaviour = Annotated[
    MinimumFunctionality | Invariance | Direction,
    Field(discriminator="kind"),
]


def bound_score(answer: Answer, label: str) -> tuple[float, float]:
    """Least and greatest probability of a label that an answer, the top label's alone, allows.

    Of two labels it is known. Of more, a label that is not the answer has at most the answer's
    probability and at most what that leaves over.
    """
    if answer.label == label:
        return answer.score, answer.score
    rest = 1 - answer.score
    return (rest, rest) if answer.labels == 2 else (0.0, min(rest, answer.score))


def list_inputs(tests: Sequence[Behaviour], column: str) -> list[dict[str, str]]:
    """Every row that the tests need answered, in order; a bare text goes into `column`."""
    return [
        {column: row} if isinstance(row, str) else dict(row)
        for test in tests
        for row in test.list_rows()
    ]


def check_behaviour(
    tests: Sequence[Behaviour], answers: Sequence[Answer]
) -> tuple[BehaviourResult, ...]:
    """Hold the answers to `list_inputs`, in its order, against the tests."""
    results, place = [], 0
    for test in tests:
        count = len(test.list_rows())
        outcomes = test.check(answers[place : place + count])
        place += count
        failed = [outcome for outcome in outcomes if outcome is not None]
        results.append(
            BehaviourResult(
                test.name,
                test.kind,
                len(outcomes),
                len(outcomes) - len(failed),
                test.pass_rate,
                tuple(failed[:SHOWN]),
            )
        )
    return tuple(results)


def _pair_up(
    rows: Sequence[Row], answers: Sequence[Answer]
) -> list[tuple[Row, Row, Answer, Answer]]:
    return list(zip(rows[::2], rows[1::2], answers[::2], answers[1::2], strict=True))


def _replace(row: Row, changes: Mapping[str, str]) -> Row:
    if isinstance(row, dict):
        return {column: _replace_text(text, changes) for column, text in row.items()}
    return _replace_text(row, changes)


def _replace_text(text: str, changes: Mapping[str, str]) -> str:
    for before, after in changes.items():
        text = text.replace(before, after)
    return text


def _show(row: Row) -> str:
    text = row if isinstance(row, str) else " | ".join(row.values())
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


def _show_bounds(bounds: tuple[float, float]) -> str:
    low, high = bounds
    return f"{low:.3f}" if low == high else f"somewhere in {low:.3f} to {high:.3f}"
