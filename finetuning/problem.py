"""What the model learns to do: a problem, declared in one file of `finetuning/problems/`.

A problem is a table of parts, and each part names a module with the functions of a protocol of
`finetuning.parts`. A stage imports only the parts that it needs: so its key holds the code of those
parts alone, and what shows that nothing changed imports none.

    part         asked by                    what differs between problems
    reading      snapshot                    how files become a table; which rows are the same
    checking     validate                    the built-in expectations
    encoding     encode, train, evaluate,    a table's rows as arrays, and those as batches
                 the served model
    modelling    train, evaluate, served     base and head, and their files
    scoring      train, evaluate, register,  the loss of a batch, merit on validation, answers, and
                 the served model            the prediction table that metrics are computed from
    comparing    evaluate                    what the same rows give without any base model

What follows from a prediction table is shared: metrics (`finetuning.measures`), intervals, slices,
the gate, the report.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

from finetuning.parts import (
    Checked,
    Checking,
    Comparing,
    Encoding,
    Examined,
    Modelling,
    Reading,
    Rows,
    Scoring,
)

if TYPE_CHECKING:
    from finetuning.config import Columns

__all__ = [
    "Checked",
    "Checking",
    "Comparing",
    "Encoding",
    "Examined",
    "Modelling",
    "Problem",
    "Reading",
    "Rows",
    "Scoring",
    "find_problem",
]
Part = Literal["reading", "checking", "encoding", "modelling", "scoring", "comparing"]
# fitted: a fresh linear head over one vector a row, which a fit to convergence finds. fresh: a head
# that only training finds. pretrained: the base model brings its head.
Head = Literal["fitted", "fresh", "pretrained"]


@dataclass(frozen=True)
class Problem:
    """A problem's declaration.

    shown: keys of data.columns; the first named one's value stands for a row in tables and pages.
    served: MLflow's type of each input column. answers: name and MLflow type of each column that a
    served model answers with. requires: packages that a served model needs beside the shared ones.
    targets: keys of data.columns that a served model is not given. optional: those that its caller
    may leave out. parameters: what a caller may set, with its default. judged: the parameters by
    which the gate asks it.
    """

    kind: str
    shown: tuple[str, ...]
    served: Literal["string", "binary"]
    answers: Mapping[str, Literal["string", "double", "long"]]
    requires: tuple[str, ...]
    parts: Mapping[Part, str]
    head: Head = "fitted"
    targets: tuple[str, ...] = ("label",)
    optional: tuple[str, ...] = ()
    parameters: Mapping[str, float | int] = field(default_factory=dict)
    judged: Mapping[str, float | int] = field(default_factory=dict)

    def find_shown(self, columns: Columns) -> str:
        """The column that stands for a row: of the keys in `shown`, the first that is named."""
        named = (getattr(columns, key) for key in self.shown)
        return str(next(name for name in named if name is not None))

    @property
    def has_classes(self) -> bool:
        """Whether each row has one of a few labels."""
        return "label" in self.targets

    @property
    def reads_files(self) -> bool:
        """Whether a row names a file, whose content is what counts."""
        return self.served == "binary"

    @property
    def reading(self) -> Reading:
        """See `Reading`."""
        return cast(Reading, self._import("reading"))

    @property
    def checking(self) -> Checking:
        """See `Checking`."""
        return cast(Checking, self._import("checking"))

    @property
    def encoding(self) -> Encoding:
        """See `Encoding`."""
        return cast(Encoding, self._import("encoding"))

    @property
    def modelling(self) -> Modelling:
        """See `Modelling`."""
        return cast(Modelling, self._import("modelling"))

    @property
    def scoring(self) -> Scoring:
        """See `Scoring`."""
        return cast(Scoring, self._import("scoring"))

    @property
    def comparing(self) -> Comparing:
        """See `Comparing`."""
        return cast(Comparing, self._import("comparing"))

    def _import(self, part: Part) -> Any:
        return importlib.import_module(self.parts[part])


def find_problem(kind: str) -> Problem:
    """The declaration of a problem, from the file of its name."""
    module = importlib.import_module(f"finetuning.problems.{kind.replace('-', '_')}")
    return cast(Problem, module.PROBLEM)
