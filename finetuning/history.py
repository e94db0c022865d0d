"""What each epoch of a training showed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

# What an epoch's accuracies are shares of, as it stands in logs and pages.
SHARE_NAMES: dict[str, str] = {
    "text-classification": "accuracy",
    "question-answering": "span accuracy",
    "causal-lm": "token accuracy",
    "image-classification": "accuracy",
}


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


def find_best(history: Sequence[Epoch]) -> int | None:
    """Index of the epoch best on validation: highest rank, then lowest loss, then earliest."""
    merits = [epoch.merit for epoch in history]
    measured = [index for index, merit in enumerate(merits) if math.isfinite(merit[0])]
    return max(measured, key=merits.__getitem__, default=None)


def describe_epoch(epoch: Epoch, problem: str) -> str:
    """What an epoch showed, on a line, each figure by what it is for the problem."""
    share = SHARE_NAMES[problem]
    sides = [
        f"{split} loss {loss:.4f} {share} {right:.4f}"
        for split, loss, right in (
            ("train", epoch.train_loss, epoch.train_accuracy),
            ("validation", epoch.validation_loss, epoch.validation_accuracy),
        )
    ]
    if problem == "question-answering" and epoch.rank is not None:
        sides[-1] += f" f1 over characters {epoch.rank:.4f}"
    if problem == "causal-lm":
        sides[-1] += f" perplexity {_exponentiate(epoch.validation_loss):.2f}"
    return f"{epoch.phase} {epoch.epoch}: {', '.join(sides)}, {epoch.seconds:.1f} s"


def _exponentiate(loss: float) -> float:
    try:
        return math.exp(loss)
    except OverflowError:
        return math.inf


def describe_end(history: Sequence[Epoch], best: int, epochs: int) -> str:
    """Which epoch's weights were kept, and whether the training ended before its time.

    Args:
        history: The epochs that were run.
        best: Index of the one whose weights were kept.
        epochs: How many were to be trained, beside the probe.
    """
    kept, run = history[best], sum(epoch.phase == "tune" for epoch in history)
    if not run and not epochs:
        return "kept the head that was fitted; nothing else was to be trained"
    place = "the probe" if kept.phase == "probe" else f"epoch {kept.epoch}"
    said = f"kept the weights of {place}, the best on validation"
    why = ": it stopped early, see training.early_stopping" if run < epochs else ""
    return f"{said}; {run} of {epochs} epochs were run{why}"
