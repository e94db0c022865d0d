"""Exact match and F1 against values worked out by hand with the official script's rules."""

import pytest

from finetuning.squad_metrics import compute_f1, normalise_answer, score_answer


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Denver Broncos!", "denver broncos"),
        ("An apple, a day", "apple day"),
        ("U.S.A.", "usa"),
        ("the-end", "theend"),  # punctuation goes before articles do
        ("theatre of a", "theatre of"),
        ("\u201cquoted\u201d", "\u201cquoted\u201d"),  # ASCII punctuation only
        ("A", ""),
        ("Santa\tClara\n", "santa clara"),
    ],
)
def test_normalisation(text, normal):
    """Lower case, then punctuation, then articles, then white space."""
    assert normalise_answer(text) == normal


@pytest.mark.parametrize(
    ("answer", "gold", "f1"),
    [
        ("Denver Broncos", "the Denver Broncos", 1.0),
        ("in Santa Clara", "Santa Clara, California", 2 * (2 / 3) * (2 / 3) / (4 / 3)),
        ("Levi's Stadium in Santa Clara", "Santa Clara", 2 * (2 / 5) * 1 / (7 / 5)),
        ("go go go", "go go", 2 * (2 / 3) * 1 / (5 / 3)),
        ("red", "blue", 0.0),
        ("", "", 1.0),
        ("", "blue", 0.0),
        ("blue", "", 0.0),
        ("the", "a", 1.0),
    ],
)
def test_f1(answer, gold, f1):
    """Precision and recall over words, each as often as both texts have it."""
    assert compute_f1(answer, gold) == pytest.approx(f1)


@pytest.mark.parametrize(
    ("answer", "gold", "exact", "f1"),
    [
        ("gold", ("golden", "gold"), 1.0, 1.0),
        ("gold anniversary", ("golden anniversary", "gold-themed", "gold"), 0.0, 2 / 3),
        ("", (), 1.0, 1.0),
        ("gold", (), 0.0, 0.0),
        ("", ("gold",), 0.0, 0.0),
        ("", ("the",), 1.0, 1.0),  # a gold answer of articles alone is left out
        ("gold", ("the", "gold"), 1.0, 1.0),
    ],
)
def test_highest_over_gold_answers(answer, gold, exact, f1):
    """Each score is the best over the right answers; none of them means that silence is right."""
    assert score_answer(answer, gold) == (exact, pytest.approx(f1))
