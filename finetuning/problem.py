"""What the model learns to do: a problem, declared in one file of `finetuning/problems/`.

A problem is a table of parts, and each part names a module with the functions of a protocol below.
A stage imports only the parts that it needs: so its key holds the code of those parts alone, and
what shows that nothing changed imports none.

    part         asked by                    what differs between problems
    reading      snapshot                    how files become a table; which rows are the same
    checking     validate                    the built-in expectations
    encoding     encode, train, evaluate,    a table's rows as arrays, and those as batches
                 the served model
    modelling    train, evaluate, served     base and head, and their files
    comparing    evaluate                    what the same rows give without any base model

What follows from having labels is shared: the loss, the linear probe, the metrics, the gate. A
problem without labels (question answering, language modelling) will bring a part `scoring` for
them: the loss of a batch, merit on validation, metrics and prediction table on test.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas
    from torch import Tensor

    from finetuning.baselines import Baseline
    from finetuning.config import Columns, Data, Training
    from finetuning.expectations import ExpectationSpec

Part = Literal["reading", "checking", "encoding", "modelling", "comparing"]


class Rows(Protocol):
    """Encoded rows of one split."""

    @property
    def labels(self) -> np.ndarray:
        """Class numbers, (rows,) int64; -1 where unknown."""

    @property
    def lengths(self) -> np.ndarray:
        """What each row costs, in tokens, (rows,): batches are cut by it."""

    def __len__(self) -> int: ...

    def take(self, chosen: np.ndarray) -> Rows:
        """Some of the rows, in the order in which they are named."""

    def collate(self, chosen: Sequence[int] | np.ndarray) -> dict[str, Tensor]:
        """What the model is called with for the chosen rows, as they are."""

    def draw(
        self, chosen: Sequence[int] | np.ndarray, classes: int
    ) -> tuple[dict[str, Tensor], Tensor]:
        """A training batch, changed at random where that is asked for, and its targets.

        Whatever is drawn comes from torch's generator. Targets are class numbers, (batch,) int64,
        or each class's share, (batch, classes).
        """


class Reading(Protocol):
    """The part that makes a table of the user's files."""

    def read(
        self, folder: Path, name: str, key: str, columns: Columns
    ) -> tuple[list[str], list[list[str | None]]]:
        """The columns' names and the rows of what `name` is in the data set's folder.

        `key` is the pipeline file's key that named it, for the error.
        """

    def measure(self, folder: Path, rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
        """What is found out about each row: `key`, and columns that can be expected something of.

        Rows with the same key never stand on both sides of a split.
        """


class Checking(Protocol):
    """The part that says what is expected of the rows."""

    def list_expectations(self, data: Data) -> tuple[ExpectationSpec, ...]:
        """The built-in expectations."""

    def prepare(self, rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
        """The rows, and beside them the columns that the built-in expectations look at."""


class Encoder(Protocol):
    """A model's way from a table's rows to arrays."""

    def encode(self, rows: pandas.DataFrame, labels: np.ndarray, title: str = ...) -> Rows:
        """Encode rows that are usable; `labels` are their class numbers, (rows,) int64."""

    def save(self, folder: Path) -> None:
        """Write what `open_encoder` needs to encode in the same way."""


class Encoding(Protocol):
    """The part that turns rows into arrays."""

    def find_usable(self, rows: pandas.DataFrame, columns: Columns) -> pandas.Series[bool]:
        """Whether each row can be learned from, its label aside."""

    def open_encoder(
        self, folder: Path, columns: Columns, training: Training, data: Path | None = None
    ) -> Encoder:
        """The encoder of a base model's folder, or of a trained model's.

        `data` is the data set's folder; None where a model is served, and rows hold their content.
        """

    def make_example(
        self, rows: pandas.DataFrame, columns: Columns, data: Path
    ) -> pandas.DataFrame:
        """The columns of some rows as a served model takes them, without files beside them."""

    def save_rows(self, rows: Any, path: Path) -> None:
        """Write encoded rows as one safetensors file."""

    def load_rows(self, path: Path) -> Rows:
        """Read what `save_rows` wrote."""

    def vary(self, rows: Any, training: Training) -> Rows:
        """The training rows, which from then on draw the random changes that are asked for."""


class Modelling(Protocol):
    """The part that knows the model; it has `base`, `head`, `dropout` and `features`."""

    def build(
        self,
        folder: Path,
        classes: int,
        seed: int,
        dropout: float | None = None,
        scratch: bool = False,
        longest: int | None = None,
    ) -> Any:
        """A classifier over a base model's weights, or over fresh ones of the same shape."""

    def save(self, model: Any, folder: Path, labels: tuple[str, ...], max_length: int) -> None:
        """Write the model."""

    def load(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        """The model in evaluation mode, and its description with its labels."""


class Comparing(Protocol):
    """The part that knows what the same rows give without any base model."""

    def predict_simply(
        self,
        tables: Mapping[str, pandas.DataFrame],
        rows: Mapping[str, Any],
        columns: Columns,
    ) -> Baseline:
        """Fit on train, choose on validation, predict test; tables and rows are those splits'."""


@dataclass(frozen=True)
class Problem:
    """A problem's declaration.

    shown: the column's key whose value stands for a row in tables and pages. served: MLflow's type
    of each input column. requires: packages that a served model needs beside the shared ones.
    """

    kind: str
    shown: str
    served: Literal["string", "binary"]
    requires: tuple[str, ...]
    parts: Mapping[Part, str]

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
    def comparing(self) -> Comparing:
        """See `Comparing`."""
        return cast(Comparing, self._import("comparing"))

    def _import(self, part: Part) -> Any:
        return importlib.import_module(self.parts[part])


def find_problem(kind: str) -> Problem:
    """The declaration of a problem, from the file of its name."""
    module = importlib.import_module(f"finetuning.problems.{kind.replace('-', '_')}")
    return cast(Problem, module.PROBLEM)
