"""Spans held against trying every pair of tokens, and thresholds against trying each."""

import math

import numpy as np
import pytest

from finetuning.spans import (
    BEST,
    CERTAIN,
    LONGEST_ANSWER,
    Decoded,
    Span,
    choose_threshold,
    find_spans,
    gather,
)


def list_pairs(logarithms, in_context):
    """Every allowed span of one window with its score, best first, as plain loops find it."""
    length = len(in_context)
    pairs = [
        (first, last, logarithms[first, 0] + logarithms[last, 1])
        for first in range(length)
        for last in range(first, min(first + LONGEST_ANSWER, length))
        if in_context[first] and in_context[last]
    ]
    return sorted(pairs, key=lambda pair: -pair[2])


def test_best_spans_are_those_of_all_pairs():
    """Random scores, two windows, a context that ends before the window does."""
    draw = np.random.default_rng(3)
    logarithms = draw.normal(size=(2, 50, 2))
    in_context = np.zeros((2, 50), bool)
    in_context[0, 5:49] = in_context[1, 8:20] = True
    found = find_spans(logarithms, in_context)
    for window in (0, 1):
        expected = list_pairs(logarithms[window], in_context[window])[:BEST]
        assert list(found.firsts[window]) == [first for first, _, _ in expected]
        assert list(found.lasts[window]) == [last for _, last, _ in expected]
        np.testing.assert_allclose(found.scores[window], [score for *_, score in expected])
    np.testing.assert_allclose(found.nulls, logarithms[:, 0].sum(axis=1))


def test_span_never_ends_before_it_begins_nor_runs_on():
    """The likeliest first token stands behind the likeliest last, or too far before it."""
    logarithms = np.full((1, 60, 2), -9.0)
    logarithms[0, 40, 0] = logarithms[0, 5, 1] = logarithms[0, 58, 1] = -1.0
    found = find_spans(logarithms, np.ones((1, 60), bool))
    assert (found.firsts[0, 0], found.lasts[0, 0]) == (40, 58)
    logarithms[0, 40, 0], logarithms[0, 20, 0] = -9.0, -1.0
    found = find_spans(logarithms, np.ones((1, 60), bool))
    assert all(found.lasts[0] - found.firsts[0] < LONGEST_ANSWER)
    assert all(found.lasts[0] >= found.firsts[0])


def test_window_without_context_has_no_span():
    """An empty context leaves nothing to answer with."""
    found = find_spans(np.zeros((1, 3, 2)), np.zeros((1, 3), bool))
    assert not np.isfinite(found.scores).any()


def test_windows_of_a_question_are_joined():
    """A span of two windows counts once, at its best; no answer as where it is least likely."""
    windows = [
        (0, [Span(5, 9, -1.0), Span(2, 3, -2.0)], -0.5),
        (1, [], -0.1),
        (0, [Span(5, 9, -0.7), Span(20, 22, -0.9)], -4.0),
    ]
    first, second = gather(windows, 2)
    assert first == Decoded((Span(5, 9, -0.7), Span(20, 22, -0.9), Span(2, 3, -2.0)), -4.0)
    assert second == Decoded((), -0.1)


def test_only_the_best_are_kept():
    """Many windows leave no more than a question's best spans."""
    windows = [(0, [Span(at, at + 1, -float(at))], 0.0) for at in range(2 * BEST)]
    (only,) = gather(windows, 1)
    assert [span.start for span in only.spans] == list(range(BEST))


def test_threshold_is_the_best_of_all():
    """No threshold between or beyond the leads is worth more, on random numbers."""
    draw = np.random.default_rng(5)
    for _ in range(20):
        leads = draw.normal(size=30).round(1)  # some are equal
        silent = (draw.random(30) < 0.4).astype(float)
        answered = draw.random(30) * (1 - silent)

        def worth(threshold, leads=leads, silent=silent, answered=answered):
            return np.where(leads > threshold, silent, answered).sum()

        best = max(worth(threshold) for threshold in np.arange(-6, 6, 0.05))
        assert worth(choose_threshold(leads, answered, silent)) == pytest.approx(best)


def test_where_every_question_has_an_answer_none_is_kept_back():
    """Nothing is gained by silence, so no lead is enough for it."""
    assert choose_threshold(np.array([3.0, -1.0]), np.array([0.0, 1.0]), np.zeros(2)) == CERTAIN


def test_where_no_question_has_one_none_is_answered():
    """Every lead is above the threshold, also that of a question without spans."""
    threshold = choose_threshold(np.array([math.inf, -50.0]), np.zeros(2), np.ones(2))
    assert threshold == -CERTAIN
