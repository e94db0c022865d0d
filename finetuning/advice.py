"""What to begin with: strategy, learning rate and epochs for so many rows, each with its reason.

For texts the numbers are those of `benchmarks/learning_rates.json`, trials of this project; a test
holds the advice against them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# Rows: with 13 tuning the whole model was no better than fitting the head, with 43 it was.
FEWEST_A_CLASS = 20
SMALL = 512  # features a token up to which a model counts as small: MiniLM has 384, BERT 768
SMALL_RATE, LARGE_RATE = 2e-4, 3e-5


@dataclass(frozen=True)
class Suggestion:
    """A value for a key of the pipeline file, and why."""

    key: str
    value: Any
    reason: str


def advise_on_texts(rows: int, classes: int, width: int | None) -> tuple[Suggestion, ...]:
    """Suggest how to begin to classify texts.

    Args:
        rows: Rows with a label, before validation and test are split off.
        classes: Number of labels.
        width: Features a token of the base model; None where that is not known.
    """
    return (_advise_strategy(rows, classes), *_advise_training(rows, width))


def _advise_strategy(rows: int, classes: int) -> Suggestion:
    share = rows / max(classes, 1)
    if share < FEWEST_A_CLASS:
        reason = (
            f"{share:.0f} rows a label: with so few (4 and 13 were tried) training the whole model "
            "gained nothing over its frozen features, and took many times as long"
        )
        return Suggestion("strategy.kind", "head", reason)
    reason = "fits the head on frozen features first, then trains all; the better epoch is kept"
    return Suggestion("strategy.kind", "probe-then-tune", reason)


def _advise_training(rows: int, width: int | None) -> tuple[Suggestion, ...]:
    epochs = 3 if rows <= 5_000 else 2 if rows <= 20_000 else 1
    often = Suggestion(
        "training.epochs", epochs, "a rule of thumb: 3 up to 5000 rows, 2 up to 20000, else 1"
    )
    if width is None or width <= SMALL:
        reason = (
            f"for a small model, of at most {SMALL} features a token, no worse here than the usual "
            "5e-5, and far better without a probe"
        )
        return often, Suggestion("training.learning_rate", SMALL_RATE, reason)
    reason = (
        f"a model of {width} features a token; 2e-5 to 5e-5 are what BERT's authors tried (Devlin "
        "et al. 2019, arXiv 1810.04805, A.3), not compared here"
    )
    return often, Suggestion("training.learning_rate", LARGE_RATE, reason)


def read_width(folder: Path) -> int | None:
    """Features a token of a base model, as its config.json says."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    width = next(
        (config[name] for name in ("hidden_size", "n_embd", "d_model", "dim") if name in config),
        None,
    )
    return width if isinstance(width, int) else None
