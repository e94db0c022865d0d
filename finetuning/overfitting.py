"""What a training's history says: whether it overfitted, learned too little, or ended too soon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from finetuning.history import Epoch, find_best

# A training accuracy further than this above the validation accuracy counts as overfitting, where
# the gap is more than chance too: further than so many of its standard errors.
GAP_THRESHOLD = 0.05
STANDARD_ERRORS = 2.0
# A validation loss this share above its lowest has risen; less is noise.
RISE_THRESHOLD = 0.01
# What the last epoch must have taken off the validation loss for it to be still falling.
FALL_THRESHOLD = 0.02
# Above this share of the loss of guessing, hardly anything was learned.
LITTLE_LEARNED = 0.9
ADVICE = "more epochs or a higher training.learning_rate may help"
PROBE_ADVICE = "a strategy that trains more than the head may help"
HARM_ADVICE = "tuning beyond the head made it worse: a lower training.learning_rate may help"


@dataclass(frozen=True)
class Yardstick:
    """What a history is held against; what is not known says nothing.

    rows: training and validation rows. guessing: loss of guessing by how frequent each label is.
    beaten_by: what a baseline is called that is surely better, and its accuracy on the test rows.
    share: what the epochs' accuracy is called.
    """

    rows: tuple[int, int] | None = None
    guessing: float | None = None
    beaten_by: tuple[str, float] | None = None
    share: str = "accuracy"


def score(value: float | None) -> str:
    """Three decimals; a dash where there is no number."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.3f}"


def find_guessing_loss(counts: Sequence[int], smoothing: float, balanced: bool) -> float | None:
    """The loss of answering every row with how frequent each label is, in nats.

    Args:
        counts: Rows of each label.
        smoothing: Share of the target that goes to all labels alike.
        balanced: Whether all labels weigh alike, however rare.
    """
    total = sum(counts)
    if len(counts) < 2 or not total:
        return None
    if balanced:
        return math.log(len(counts))
    shares = [(1 - smoothing) * count / total + smoothing / len(counts) for count in counts]
    return -sum(share * math.log(share) for share in shares if share)


def describe_overfitting(
    history: Sequence[Epoch], restored: int | None = None, against: Yardstick | None = None
) -> str:
    """What the history shows: underfitting, where overfitting opened, or neither; in sentences.

    Args:
        history: The epochs; the last phase is judged.
        restored: Index of the epoch whose weights were kept; None: the best one's.
        against: What it is held against.
    """
    kept = find_best(history) if restored is None else restored
    if not history or kept is None:
        missing = "Nothing was measured on validation rows" if history else "No history was kept"
        return f"{missing}, so nothing can be said about overfitting."
    against = against or Yardstick()
    last, best = [epoch for epoch in history if epoch.phase == history[-1].phase], history[kept]
    share, reached = against.share, [score(best.train_accuracy), score(best.validation_accuracy)]
    seen = f"training {share} was {reached[0]} and the validation {share} {reached[1]}"
    epochs = sum(epoch.phase == best.phase for epoch in history)
    place = f"at {_place(best)}{f' of {epochs}' if best.epoch else ''} the {seen}"
    if shown := _show_little_learned(best, against):
        return f"Underfitting: {place}, {shown}.{_describe_end(last, best, urgent=True)}"
    if opening := _describe_opening(last, against):
        return (
            f"Overfitting opened at {opening}; the weights of {_place(best)}, the best on "
            f"validation, were kept, where the {seen}."
        )
    alone = ", though a single epoch shows no trend" if len(last) == 1 else ""
    if best.train_accuracy - best.validation_accuracy > GAP_THRESHOLD and against.rows:
        alone = f", a gap that chance explains on {against.rows[1]:,} validation rows{alone}"
    return f"No sign of overfitting: {place}{alone}.{_describe_end(last, best)}"


def _place(epoch: Epoch) -> str:
    if not epoch.epoch:
        return f"the {epoch.phase}"  # a fit has no epochs
    return f"{'probe ' if epoch.phase == 'probe' else ''}epoch {epoch.epoch}"


def _show_little_learned(best: Epoch, against: Yardstick) -> str | None:
    """By what the kept epoch shows that even the training rows were not learned, if it does."""
    guessing, losses = against.guessing, (best.train_loss, best.validation_loss)
    if guessing is not None and min(losses) > LITTLE_LEARNED * guessing:
        return (
            f"and the training loss of {score(best.train_loss)} is hardly below the "
            f"{score(guessing)} of guessing by how frequent each label is"
        )
    if against.beaten_by is not None and best.train_accuracy < against.beaten_by[1]:
        name, reached = against.beaten_by
        return f"where {name} reaches {score(reached)} on test rows that it had not seen"
    return None


def _describe_end(phase: Sequence[Epoch], best: Epoch, urgent: bool = False) -> str:
    """Whether the last epoch still brought something, and what then may help."""
    if phase[-1] is best and best.phase == "tune" and len(phase) > 1:
        former = phase[-2]
        fell = best.validation_loss < former.validation_loss * (1 - FALL_THRESHOLD)
        if fell and best.train_loss < former.train_loss:
            return f" It was still improving when it ended: {ADVICE}."
    advice = ADVICE
    if best.phase == "probe":
        advice = PROBE_ADVICE if phase[-1].phase == "probe" else HARM_ADVICE
    return f" {advice[0].upper()}{advice[1:]}." if urgent else ""


def _describe_opening(phase: Sequence[Epoch], against: Yardstick) -> str | None:
    """Where and how overfitting opened, if it did."""
    # A rise that later epochs undo is a bump: only what follows the lowest loss counts.
    losses = [e.validation_loss if math.isfinite(e.validation_loss) else math.inf for e in phase]
    lowest = losses.index(min(losses))
    floor = phase[lowest]
    for index, epoch in enumerate(phase):
        risen = epoch.validation_loss > floor.validation_loss * (1 + RISE_THRESHOLD)
        if index > lowest and risen and epoch.train_loss < floor.train_loss:
            return (
                f"{_place(epoch)}: since {_place(floor)} the validation loss rose from "
                f"{score(floor.validation_loss)} to {score(epoch.validation_loss)} while the "
                f"training loss fell from {score(floor.train_loss)} to {score(epoch.train_loss)}"
            )
        gap = epoch.train_accuracy - epoch.validation_accuracy
        if gap > max(GAP_THRESHOLD, STANDARD_ERRORS * _find_standard_error(epoch, against.rows)):
            return f"{_place(epoch)}: the training {against.share} was {gap:.3f} above validation"
    return None


def _find_standard_error(epoch: Epoch, rows: tuple[int, int] | None) -> float:
    """Of the difference of both accuracies, as shares of so many rows."""
    if rows is None or not all(rows):
        return 0.0
    shares = (epoch.train_accuracy, epoch.validation_accuracy)
    return math.sqrt(sum(p * (1 - p) / count for p, count in zip(shares, rows, strict=True)))
