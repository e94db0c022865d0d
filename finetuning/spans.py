"""From each token's chances of being an answer's first or last to the answers themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BEST = 10  # spans that are kept of a window and of a question
LONGEST_ANSWER = 30  # tokens, as in BERT's run_squad
CERTAIN = 1e9  # nats; a lead that is never reached


@dataclass(frozen=True)
class Found:
    """The best spans of some windows, best first.

    firsts and lasts: tokens, counted in the window, (windows, BEST). scores: logarithms of their
    probabilities, likewise, minus infinity where there are fewer. nulls: that of no answer,
    (windows,).
    """

    firsts: np.ndarray
    lasts: np.ndarray
    scores: np.ndarray
    nulls: np.ndarray


@dataclass(frozen=True)
class Span:
    """A part of a context, in characters, the end exclusive, and its probability's logarithm."""

    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Decoded:
    """What is found for one question: its best spans, best first, and no answer's score."""

    spans: tuple[Span, ...]
    null: float


def find_spans(logarithms: np.ndarray, in_context: np.ndarray) -> Found:
    """The spans of windows with the highest probabilities, all of them compared.

    A span begins and ends in the context, ends not before it begins, and has `LONGEST_ANSWER`
    tokens at most. Its probability is the product of its ends' (Devlin et al. 2019, section 4.2).

    Args:
        logarithms: (windows, length, 2), of the probabilities of being first and last token.
        in_context: (windows, length), whether a token is the context's.
    """
    windows, length = in_context.shape
    first = np.where(in_context, logarithms[:, :, 0], -np.inf)
    last = np.where(in_context, logarithms[:, :, 1], -np.inf)
    widths = min(LONGEST_ANSWER, length)
    scores = np.full((windows, length, widths), -np.inf)
    for width in range(widths):
        scores[:, : length - width, width] = first[:, : length - width] + last[:, width:]
    flat = scores.reshape(windows, -1)
    kept = min(BEST, flat.shape[1])
    best = np.argpartition(-flat, kept - 1, axis=1)[:, :kept]
    # A second sort by place, so that equal scores come in the same order everywhere.
    best.sort(axis=1)
    order = np.argsort(-np.take_along_axis(flat, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    firsts, more = np.divmod(best, widths)
    own = np.take_along_axis(flat, best, axis=1)
    return Found(firsts, firsts + more, own, logarithms[:, 0].sum(axis=1))


def gather(windows: Sequence[tuple[int, Sequence[Span], float]], questions: int) -> list[Decoded]:
    """The best spans of each question, over all of its windows.

    A span that several windows hold counts once, as the surest of them has it. No answer is as
    likely as in the window that holds it least likely: one window with the answer is enough.

    Args:
        windows: Each one's question, its spans, and no answer's score there.
        questions: How many there are; each has a window at least.
    """
    found: list[dict[tuple[int, int], float]] = [{} for _ in range(questions)]
    nulls = [np.inf] * questions
    for question, spans, null in windows:
        own = found[question]
        for span in spans:
            place = (span.start, span.end)
            own[place] = max(span.score, own.get(place, -np.inf))
        nulls[question] = min(nulls[question], null)
    return [
        Decoded(
            tuple(
                Span(start, end, score)
                for (start, end), score in sorted(own.items(), key=lambda item: (-item[1], item[0]))
            )[:BEST],
            null,
        )
        for own, null in zip(found, nulls, strict=True)
    ]


def choose_threshold(leads: np.ndarray, answered: np.ndarray, silent: np.ndarray) -> float:
    """By how much no answer must lead over the best span to be given, so that most is right.

    As the best threshold of the official scorer of SQuAD 2.0; of equal ones the highest, so that
    where every question has an answer, every question is given one.

    Args:
        leads: No answer's score minus the best span's, (questions,).
        answered: What the best span is worth, (questions,), 0 to 1.
        silent: What giving no answer is worth, likewise.
    """
    order = np.argsort(leads, kind="stable")
    ordered = np.clip(leads[order], -CERTAIN / 2, CERTAIN / 2)
    # worth[n]: the n questions where no answer leads least are answered, the others are not.
    worth = np.concatenate([[0.0], np.cumsum(answered[order])])
    worth += np.concatenate([np.cumsum(silent[order][::-1])[::-1], [0.0]])
    edges = np.concatenate([[-CERTAIN], (ordered[1:] + ordered[:-1]) / 2, [CERTAIN]])
    apart = np.concatenate([[True], ordered[1:] > ordered[:-1], [True]])
    worth = np.where(apart, worth, -1.0)
    # Sums of the same numbers in another order differ in the last bits.
    best = np.flatnonzero(worth >= worth.max() - 1e-9)[-1]
    return float(edges[best])
