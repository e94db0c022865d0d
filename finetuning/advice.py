"""What to begin with: strategy, learning rate and epochs for so many rows, each with its reason.

The numbers are those of the trials that `benchmarks/learning_rates.py` ran and keeps beside it, a
file for each problem; a test holds the advice against them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# Rows: with 13 tuning the whole model was no better than fitting the head, with 43 it was.
FEWEST_A_CLASS = 20
SMALL = 512  # features a token up to which a model counts as small: MiniLM has 384, BERT 768
SMALL_RATE, LARGE_RATE = 2e-4, 3e-5
ADAPTERS = "lora"
ADAPTERS_RATE = 1e-2  # of a small model; with a fiftieth of it they hardly learned
SMALL_NETWORK = 1_000_000  # parameters: those tried have 0.27 and 0.26 million
FEW_IMAGES = 500
FEW_IMAGES_RATE, IMAGES_RATE, PHOTOGRAPHS_RATE = 1e-2, 3e-3, 1e-3
SMALL_WRITER_RATE, WRITER_RATE = 5e-3, 5e-5


@dataclass(frozen=True)
class Suggestion:
    """A value for a key of the pipeline file, and why."""

    key: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Size:
    """A base model's size.

    width: features a token; None where it reads no tokens or patches, or that is not known.
    parameters: how many it has; None where that is not known.
    """

    width: int | None = None
    parameters: int | None = None


def advise(
    problem: str, rows: int, classes: int, base: Size, kind: str | None = None
) -> tuple[Suggestion, ...]:
    """Suggest how to begin: strategy, epochs and learning rate, in this order.

    Args:
        problem: The pipeline file's problem.
        rows: Rows to learn from, with their label, before validation and test are split off.
        classes: Number of labels; of no importance where a problem has none.
        base: The base model's size.
        kind: The strategy that is taken, which the rate is then for; None: the suggested one.
    """
    strategy, epochs, rate = _ADVISERS[problem](rows, classes, base)
    if kind == ADAPTERS and rate.value == SMALL_RATE:
        reason = "for lora, whose adapters begin at nothing: the best of four with a small model"
        rate = replace(rate, value=ADAPTERS_RATE, reason=reason)
    return strategy, epochs, rate


def _advise_on_texts(rows: int, classes: int, base: Size) -> tuple[Suggestion, ...]:
    return (_advise_strategy(rows, classes), *_advise_training(rows, base.width))


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


def _advise_on_images(rows: int, classes: int, base: Size) -> tuple[Suggestion, ...]:
    del classes  # two and ten were tried, and asked for the same
    epochs = 8 if rows <= 5_000 else 3 if rows <= 20_000 else 2
    often = Suggestion(
        "training.epochs",
        epochs,
        "8 up to 5000 images, where the last epochs were the best ones; a rule of thumb beyond: 3 "
        "up to 20000, else 2",
    )
    if base.parameters is not None and base.parameters <= SMALL_NETWORK:
        reason = "with a network this small it was at least as good as to fit the head first"
        rate = FEW_IMAGES_RATE if rows <= FEW_IMAGES else IMAGES_RATE
        tried = "300" if rows <= FEW_IMAGES else "1500"
        why = f"the best of three for {tried} images, with a network of 0.27 million parameters"
        return (
            Suggestion("strategy.kind", "full", reason),
            often,
            Suggestion("training.learning_rate", rate, why),
        )
    reason = "fits the head on frozen features first, safe when small; the better epoch is kept"
    rate, why = PHOTOGRAPHS_RATE, "a rule of thumb for convolutional networks, not compared here"
    if base.width is not None:
        rate, why = LARGE_RATE, f"a rule of thumb for {base.width} features a patch, not compared"
    return (
        Suggestion("strategy.kind", "probe-then-tune", reason),
        often,
        Suggestion("training.learning_rate", rate, why),
    )


def _advise_on_questions(rows: int, classes: int, base: Size) -> tuple[Suggestion, ...]:
    del classes  # there are none
    reason = "the head is new, and needs the whole model to learn with it"
    often = "a rule of thumb: 2 up to 20000 questions, else 1"
    rate = _advise_training(rows, base.width)[1]
    if rate.value == SMALL_RATE:
        why = "the best of three for 500 questions with a model of 384 features, which were too few"
        rate = replace(rate, reason=f"{why}: expect an F1 above 0.5 from some thousands on")
    return (
        Suggestion("strategy.kind", "full", reason),
        Suggestion("training.epochs", 2 if rows <= 20_000 else 1, often),
        rate,
    )


def _advise_on_writing(rows: int, classes: int, base: Size) -> tuple[Suggestion, ...]:
    del rows, classes  # passages may be lines or books
    rate, why = WRITER_RATE, "a rule of thumb for models of this size, not compared here"
    if base.parameters is not None and base.parameters <= SMALL_NETWORK:
        rate, why = SMALL_WRITER_RATE, "the best of three, with a model of 0.26 million parameters"
    return (
        Suggestion("strategy.kind", "full", "with a small model far better than lora"),
        Suggestion("training.epochs", 1, "more for a small set, while validation gets better"),
        Suggestion("training.learning_rate", rate, why),
    )


_ADVISERS: dict[str, Callable[[int, int, Size], tuple[Suggestion, ...]]] = {
    "text-classification": _advise_on_texts,
    "image-classification": _advise_on_images,
    "question-answering": _advise_on_questions,
    "causal-lm": _advise_on_writing,
}


def read_size(folder: Path) -> Size:
    """A base model's size, as its config.json and its weights say."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    width = next(
        (config[name] for name in ("hidden_size", "n_embd", "d_model", "dim") if name in config),
        None,
    )
    return Size(width if isinstance(width, int) else None, _count_parameters(folder))


def _count_parameters(folder: Path) -> int | None:
    """From the shapes of the weights; None where there are none that can be read."""
    from safetensors import SafetensorError, safe_open

    count = 0
    for path in folder.glob("*.safetensors"):
        try:
            with safe_open(path, framework="numpy") as weights:
                names = list(weights.keys())
                count += sum(math.prod(weights.get_slice(name).get_shape()) for name in names)
        except SafetensorError:  # whoever loads the model says what is wrong with it
            return None
    return count or None
