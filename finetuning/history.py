"""What each epoch of a training showed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed. Train figures are taken while training, dropout on.

    Accuracies are shares of right answers: rows, tokens or spans. rank: what the best epoch has
    most of on validation; None: its accuracy.
    """

    phase: Literal["probe", "tune"]
    epoch: int
    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    seconds: float
    rank: float | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    @property
    def merit(self) -> tuple[float, float]:
        """What the best epoch has most of: its rank on validation, then low validation loss."""
        rank = self.validation_accuracy if self.rank is None else self.rank
        return (rank, -self.validation_loss)
