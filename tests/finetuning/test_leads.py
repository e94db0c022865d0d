"""Baselines that a model is surely behind, and the sentence that says so."""

import pytest

from finetuning.leads import describe_defeat, list_better


def make_lead(name, difference, low, high, **scores):
    """A baseline as the evaluation keeps it."""
    return {
        "description": name, "scores": scores, "difference": difference, "interval": [low, high],
    }  # fmt: skip


AHEAD = make_lead("the most frequent label", 0.2, 0.1, 0.3, accuracy=0.2)
LEVEL = make_lead("the pixels", -0.1, -0.2, 0.0, accuracy=0.5)
TFIDF = make_lead("TF-IDF", -0.5784, -0.65, -0.5, accuracy=0.9639)
FROZEN = make_lead("the frozen base model", -0.2, -0.3, -0.1, accuracy=0.58)


def test_a_baseline_is_surely_better_where_the_whole_interval_is_below_zero():
    """One that touches zero proves nothing; the best stands first."""
    assert list_better([AHEAD, LEVEL, FROZEN, TFIDF]) == [TFIDF, FROZEN]


def test_a_defeat_is_told_with_both_scores_and_the_interval():
    """The best baseline with its numbers, and the others by name."""
    assert describe_defeat([AHEAD, FROZEN, TFIDF], "accuracy", 0.3855) == (
        "this model is surely worse than TF-IDF, which needs no fine-tuning, and than the frozen "
        "base model: accuracy 0.3855 against 0.9639 on the same test rows (lead -0.5784, interval "
        "-0.6500 to -0.5000)"
    )


@pytest.mark.parametrize("baselines", [[], [AHEAD], [AHEAD, LEVEL]])
def test_without_a_defeat_nothing_is_said(baselines):
    """A lead that chance explains is no defeat."""
    assert describe_defeat(baselines, "accuracy", 0.4) == ""


def test_of_a_perplexity_less_is_better():
    """Its lead is negative where the model's perplexity is the higher one."""
    worse = make_lead("a 1-gram model", -46.5, -48.6, -44.1, perplexity=45.142)
    said = describe_defeat([worse], "perplexity", 91.6253)
    assert "perplexity (less is better) 91.6253 against 45.1420" in said
    better = make_lead("a 1-gram model", 46.5, 44.1, 48.6, perplexity=91.6)
    assert describe_defeat([better], "perplexity", 45.1) == ""
