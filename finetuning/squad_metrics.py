"""Exact match and F1 of an answer, as SQuAD's official scorer computes them.

The script `evaluate-v2.0.py` (Rajpurkar et al. 2018, arXiv 1806.03822), which gives what that of
SQuAD 1.1 gives wherever every question has an answer that is more than articles and punctuation.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = dict.fromkeys(map(ord, string.punctuation))


def normalise_answer(text: str) -> str:
    """Lower case, without ASCII punctuation, articles and white space beyond single spaces."""
    bare = text.lower().translate(_PUNCTUATION)
    return " ".join(ARTICLES.sub(" ", bare).split())


def score_answer(answer: str, gold: Sequence[str]) -> tuple[float, float]:
    """Exact match (0 or 1) and F1 over words, each the highest over the gold answers.

    Args:
        answer: What is answered; empty for no answer.
        gold: The right answers; none where the question has no answer.
    """
    right = [text for text in gold if normalise_answer(text)] or [""]
    exact = max(float(normalise_answer(answer) == normalise_answer(text)) for text in right)
    return exact, max(compute_f1(answer, text) for text in right)


def compute_f1(answer: str, gold: str) -> float:
    """F1 of the words that both have, each as often as both have it."""
    given, right = normalise_answer(answer).split(), normalise_answer(gold).split()
    if not given or not right:
        return float(given == right)
    shared = sum((Counter(given) & Counter(right)).values())
    return 2 * shared / (len(given) + len(right))
