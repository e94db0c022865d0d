"""What is due, from what there is."""

import pytest

from finetuning.reconciliation import LONGEST_WAIT, Attempt, decide_run, wait_after


def test_data_of_another_version_than_the_models_is_run_once():
    """New data and no attempt: attempt 1 starts; while it is under way nothing does."""
    decision = decide_run("b", "a", [], now=0)
    assert (decision.start, decision.attempt) == (True, 1)
    assert not decide_run("b", "a", [Attempt("under way")], now=0).start


@pytest.mark.parametrize(("offered", "word"), [("b", "nothing changed"), (None, "no model yet")])
def test_the_same_data_and_a_pipeline_without_a_model_stay_still(offered, word):
    """A rerun needs a model that was made from other data."""
    decision = decide_run("b", offered, [], now=0)
    assert not decision.start
    assert word in decision.why


@pytest.mark.parametrize("ending", ["done", "final"])
def test_an_answer_is_not_asked_for_again(ending):
    """What the gate refused is not trained again each minute, however long ago it was."""
    decision = decide_run("b", "a", [Attempt(ending, 0.0, "refused")], now=1e9)
    assert not decision.start
    assert "refused" in decision.why


def test_failures_are_followed_by_ever_longer_waits():
    """60 s after the first, 120 after the second, 240 after the third; at most six hours."""
    failed = [Attempt("failed", 1000.0, "disk full")]
    early = decide_run("b", "a", failed, now=1059.0)
    assert not early.start
    assert "failed once (disk full): again in 1 s" in early.why
    late = decide_run("b", "a", failed, now=1060.0)
    assert (late.start, late.attempt) == (True, 2)
    assert [wait_after(count) for count in (1, 2, 3)] == [60.0, 120.0, 240.0]
    assert wait_after(500) == LONGEST_WAIT
    twice = [*failed, Attempt("failed", 2000.0)]
    assert "2 times" in decide_run("b", "a", twice, now=2119.0).why
    assert decide_run("b", "a", twice, now=2120.0).attempt == 3
