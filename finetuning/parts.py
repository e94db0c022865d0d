"""What each part of a problem gives: protocols that its modules fill, and what passes between."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    import pandas
    from torch import Tensor

    from finetuning.config import Columns, Data, Training
    from finetuning.devices import Device
    from finetuning.expectations import ExpectationSpec
    from finetuning.known_contents import Memory
    from finetuning.pieces import Pieces


@dataclass(frozen=True)
class Checked:
    """What validation rows showed after an epoch.

    loss: mean, in nats. accuracy: share of right answers: rows, tokens or spans. merit: what the
    best epoch has most of.
    """

    loss: float
    accuracy: float
    merit: float


@dataclass(frozen=True)
class Examined:
    """What a model answered to the test rows, and what only this problem's report shows.

    answers: a row a test row, the columns that a served model answers with. metrics: beside those
    that the prediction table gives. details: fields of `reports.Report` by name, as JSON.
    """

    answers: pandas.DataFrame
    metrics: Mapping[str, float]
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Baseline:
    """A baseline's answers to the test rows, in the columns that `Scoring.mark` reads."""

    name: str
    description: str
    answers: pandas.DataFrame


class Rows(Protocol):
    """Encoded rows of one split: what batches are made of.

    An encoded row may be less or more than a row of the table: a window of a long context, a block
    of several texts.
    """

    @property
    def labels(self) -> np.ndarray:
        """Class numbers, (rows,) int64; -1 where unknown, or where the problem has no classes."""

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

        Whatever is drawn comes from torch's generator. Targets are what `Scoring.compute_loss` of
        the same problem takes: class numbers, (batch,) int64, or each class's share, (batch,
        classes), for one.
        """


class Reading(Protocol):
    """The part that makes a table of the user's files."""

    def read(
        self, folder: Path, name: str, key: str, columns: Columns
    ) -> tuple[list[str], Iterable[list[str | None]]]:
        """The columns' names and the rows of what `name` is in the data set's folder.

        The rows may be gone through more than once. `key` is the pipeline file's key that named
        it, for the error.
        """

    def measure(
        self,
        folder: Path,
        rows: pandas.DataFrame,
        columns: Columns,
        memory: Memory | None = None,
    ) -> pandas.DataFrame:
        """What is found out about each row: `key`, and columns that can be expected something of.

        Rows with the same key never stand on both sides of a split. What the memory knows of a
        row's file is not found out again.
        """


class Checking(Protocol):
    """The part that says what is expected of the rows."""

    def list_expectations(self, data: Data) -> tuple[ExpectationSpec, ...]:
        """The built-in expectations."""

    def prepare(self, rows: pandas.DataFrame, columns: Columns) -> pandas.DataFrame:
        """The rows, and beside them the columns that the built-in expectations look at."""


class Encoder(Protocol):
    """A model's way from a table's rows to arrays."""

    def encode(
        self, rows: pandas.DataFrame, labels: np.ndarray, title: str = ..., learning: bool = ...
    ) -> Rows:
        """Encode rows that are usable.

        Args:
            rows: Rows of the table.
            labels: Their class numbers, (rows,) int64; -1 where the problem has no classes.
            title: What the progress bar says.
            learning: Whether they are trained on, and so may be cut and packed as that likes best;
                else they are to be answered, each by itself. Served rows have no target columns.
        """

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """SHA-256 of all that `cut` reads of each row."""

    def cut(self, rows: pandas.DataFrame, title: str = ...) -> Pieces:
        """The first half of `encode`, and the slow one: what each row becomes by itself."""

    def join(self, pieces: Pieces, labels: np.ndarray, learning: bool = ...) -> Rows:
        """The second half: the rows, from the pieces of each."""

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
    """The part that knows the model.

    A model has `base` (of transformers, or like one) and `head` (a module; its parameters are the
    highest layer group). Called with a collated batch it gives what `Scoring.compute_loss` takes.
    Where the problem's head is fitted, `features` gives one vector a row.
    """

    def build(
        self,
        folder: Path,
        classes: int,
        seed: int,
        dropout: float | None = None,
        scratch: bool = False,
        longest: int | None = None,
    ) -> Any:
        """The model over a base model's weights, or over fresh ones of the same shape."""

    def save(self, model: Any, folder: Path, labels: tuple[str, ...], max_length: int) -> None:
        """Write the model."""

    def load(self, folder: Path) -> tuple[Any, dict[str, Any]]:
        """The model in evaluation mode, and its description with its labels."""


class Scoring(Protocol):
    """The part that knows what is learned, what is answered, and what answers are worth."""

    def weigh(self, targets: Tensor) -> int:
        """What a batch counts for in a mean over batches: its rows, or its tokens."""

    def compute_loss(self, outputs: Tensor, targets: Tensor, label_smoothing: float) -> Tensor:
        """The batch's mean loss in nats, fp32, a scalar."""

    def count_right(self, outputs: Tensor, targets: Tensor) -> int:
        """How many of `weigh` were right."""

    def check(self, model: Any, rows: Any, device: Device, title: str) -> Checked:
        """What validation rows show; nothing but the rows is known of them here."""

    def answer(
        self,
        model: Any,
        description: Mapping[str, Any],
        rows: Any,
        inputs: pandas.DataFrame,
        columns: Columns,
        parameters: Mapping[str, Any] | None = None,
    ) -> pandas.DataFrame:
        """What a served model answers, a row an input row, in their order, computed in fp32.

        Args:
            model: In evaluation mode.
            description: As `Modelling.load` gives it.
            rows: The encoded inputs, `learning` off.
            inputs: The table's rows.
            columns: The pipeline file's `data.columns`.
            parameters: What a caller may set, see `Problem.parameters`.
        """

    def examine(
        self,
        model: Any,
        description: Mapping[str, Any],
        rows: Any,
        tested: pandas.DataFrame,
        columns: Columns,
    ) -> Examined:
        """What `answer` gives for test rows, and what the report shows of them."""

    def mark(
        self, answers: pandas.DataFrame, tested: pandas.DataFrame, columns: Columns
    ) -> pandas.DataFrame:
        """The prediction table's own columns, from answers to test rows in the same order.

        Label and prediction as texts where there are any, and each number that a metric of the
        problem reads; see `measures.find_measure`.
        """

    def find_worst(self, table: pandas.DataFrame, shown: str) -> list[dict[str, Any]]:
        """The rows of a prediction table that went worst, as `reports.WorstError` by field."""


class Comparing(Protocol):
    """The part that knows what the same rows give without any base model."""

    def predict_simply(
        self,
        tables: Mapping[str, pandas.DataFrame],
        rows: Mapping[str, Any],
        columns: Columns,
        labels: Sequence[str],
    ) -> Sequence[Baseline]:
        """Fit on train, choose on validation, answer test; tables and rows are those splits'."""
