"""`tunesmith diff` where something of one version is gone; the whole of it stands in e2e."""

import pandas
import pytest

from flows.differing import Side, compare_rows, compare_scores, describe_differences
from tasks.registered_models import Evidence


def make_rows(*texts):
    """Rows with these texts."""
    words = {"key": texts, "split": "train", "text": texts, "words": texts}
    return pandas.DataFrame(words | {"label": "a", "labels": "a"})


def make_evidence(right, rows=10):
    """Answers, of which so many are right."""
    answers = ["a"] * right + ["b"] * (rows - right)
    table = pandas.DataFrame(
        {"id": [str(n) for n in range(rows)], "label": "a", "prediction": answers, "score": 0.5}
    )
    return Evidence({}, table, {"test/accuracy": right / rows})


def make_side(name, digest="d", rows=None, evidence=None):
    """One side with a record as old ones are."""
    record = {"data_version": name, "config": {"name": "toys"}, "row_digests": {"test": digest}}
    return Side(name, record, rows, "" if rows is not None else f"no rows of {name}", evidence)


def describe(then, now):
    """The differences for people."""
    return describe_differences(
        {
            "from": then.name,
            "to": now.name,
            "data": compare_rows(then, now),
            "config": [],
            "code": [
                {"key": "tasks.training", "before": "1", "after": "2"},
                {"key": "tasks.new", "before": None, "after": "2"},
            ],
            "circumstances": [],
            "libraries": [],
            "scores": compare_scores(then, now),
            "notes": [side.why for side in (then, now) if side.why],
        }
    )


def test_rows_that_cannot_be_had_are_said_and_the_rest_is_given():
    """The versions, the modules and the scores still stand there."""
    words = describe(make_side("toys/1"), make_side("toys/2", evidence=make_evidence(9)))
    assert "no rows of toys/1" in words
    assert "what changed in the rows cannot be said: the rows of toys/1 are gone" in words
    assert "version toys/1 -> toys/2" in words
    assert "changed: tasks.training" in words
    assert "added: tasks.new" in words
    assert "accuracy gone -> 0.9000" in words


def test_the_same_test_rows_are_compared_row_by_row():
    """Three rows more are right: McNemar's exact p with 3 against 0 is 2 / 2^3."""
    then = make_side("toys/1", rows=make_rows("x"), evidence=make_evidence(6))
    now = make_side("toys/2", rows=make_rows("x"), evidence=make_evidence(9))
    found = compare_scores(then, now)
    assert found["paired"]["value"] == pytest.approx(0.3)
    assert found["paired"]["p_value"] == pytest.approx(0.25)
    words = describe(then, now)
    assert "accuracy 0.6000 -> 0.9000 (+0.3000)" in words
    assert "on the same test rows, accuracy better by 0.3000 (" in words
    assert "on the same test rows, accuracy worse by 0.3000 (" in describe(now, then)
    assert "the same 1 rows" in words


def test_other_test_rows_are_said():
    """A difference on other rows is not the models' alone, and is not tested."""
    then = make_side("toys/1", "d", make_rows("x"), make_evidence(6))
    now = make_side("toys/2", "e", make_rows("x", "y"), make_evidence(9))
    assert compare_scores(then, now)["paired"] is None
    words = describe(then, now)
    assert "on other test rows" in words
    assert "1 rows added, 0 removed" in words
    assert "added: 'y' (a)" in words
    assert "100.0% of the 1 words of the new texts stood in no training row before" in words
    assert "labels: too little to compare" in words
