"""Behaviour tests: each kind passes and fails as worked out by hand."""

import pytest
from pydantic import ValidationError

from finetuning.behaviour import Answer, bound_score, check_behaviour, list_inputs
from finetuning.config import Gate, Pipeline


def read(*tests):
    """Tests as the pipeline file would give them."""
    return Gate.model_validate({"behaviour": list(tests)}).behaviour


def answers(*pairs, labels=2):
    """Answers from label and score."""
    return [Answer(label, score, labels) for label, score in pairs]


PLAIN = {
    "kind": "minimum-functionality",
    "name": "plain words",
    "inputs": ["good", "great", "bad"],
    "expected": ["pos", "pos", "neg"],
}
NAMES = {
    "kind": "invariance",
    "name": "names",
    "inputs": ["Ann liked it"],
    "replace": {"Ann": "Bob"},
    "pairs": [["it is good", "it's good"]],
    "tolerance": 0.1,
}
STRONGER = {
    "kind": "direction",
    "name": "stronger",
    "pairs": [["good", "very good"]],
    "label": "pos",
    "change": "rise",
}


def test_inputs_are_listed_in_order():
    """Every test's rows one after the other; replaced ones beside the original."""
    tests = read(PLAIN, NAMES, STRONGER)
    assert [row["text"] for row in list_inputs(tests, "text")] == [
        "good", "great", "bad", "Ann liked it", "Bob liked it", "it is good", "it's good",
        "good", "very good",
    ]  # fmt: skip
    pair = read({**PLAIN, "inputs": [{"a": "x", "b": "y"}], "expected": "pos"})
    assert list_inputs(pair, "text") == [{"a": "x", "b": "y"}]


def test_minimum_functionality():
    """Two of three right pass where two thirds are asked, and fail where all are."""
    found = answers(("pos", 0.9), ("neg", 0.6), ("neg", 0.9))
    (result,) = check_behaviour(read(PLAIN), found)
    assert (result.cases, result.passed, result.ok) == (3, 2, False)
    assert result.failures == ("'great' is neg, expected pos",)
    (result,) = check_behaviour(read({**PLAIN, "pass_rate": 2 / 3}), found)
    assert result.ok


def test_invariance_of_label_and_score():
    """Another label fails; the same label fails where its score moved too far."""
    ok = answers(("pos", 0.9), ("pos", 0.85), ("pos", 0.7), ("pos", 0.7))
    assert check_behaviour(read(NAMES), ok)[0].ok
    flipped = answers(("pos", 0.51), ("neg", 0.51), ("pos", 0.7), ("pos", 0.95))
    (result,) = check_behaviour(read(NAMES), flipped)
    assert (result.cases, result.passed) == (2, 0)
    assert "'Ann liked it' is pos (0.510), 'Bob liked it' is neg (0.510)" in result.failures[0]
    free = {**NAMES, "tolerance": None}
    assert check_behaviour(read(free), flipped)[0].passed == 1


def test_direction_of_the_score():
    """It must rise, by as much as is asked; equal is no rise; fall is the mirror."""
    up = answers(("pos", 0.6), ("pos", 0.8))
    assert check_behaviour(read(STRONGER), up)[0].ok
    assert not check_behaviour(read({**STRONGER, "by": 0.3}), up)[0].ok
    assert check_behaviour(read({**STRONGER, "by": 0.2}), up)[0].ok
    assert not check_behaviour(read({**STRONGER, "change": "fall"}), up)[0].ok
    assert not check_behaviour(read(STRONGER), answers(("pos", 0.6), ("pos", 0.6)))[0].ok
    # Of two labels, the score of the one that is not the answer is what is left.
    assert check_behaviour(read(STRONGER), answers(("neg", 0.9), ("neg", 0.7)))[0].ok


def test_direction_with_many_labels_needs_certainty():
    """What the answers leave open counts as not shown; what they decide counts."""
    assert bound_score(Answer("a", 0.7, 3), "b") == (0.0, pytest.approx(0.3))
    assert bound_score(Answer("a", 0.4, 3), "b") == (0.0, 0.4)
    assert bound_score(Answer("a", 0.7, 2), "b") == (pytest.approx(0.3), pytest.approx(0.3))
    sure = answers(("neg", 0.7), ("pos", 0.5), labels=3)  # at most 0.3, then 0.5
    assert check_behaviour(read(STRONGER), sure)[0].ok
    unsure = answers(("neg", 0.7), ("neg", 0.5), labels=3)
    (result,) = check_behaviour(read(STRONGER), unsure)
    assert not result.ok
    assert "somewhere in 0.000 to 0.300" in result.failures[0]


@pytest.mark.parametrize(
    ("test", "said"),
    [
        ({**PLAIN, "expected": ["pos"]}, "3 inputs, but 1 expected labels"),
        ({**NAMES, "replace": {"Eve": "Bob"}}, "replace changes nothing in 'Ann liked it'"),
        ({**NAMES, "replace": {}}, "give pairs, or inputs together with replace"),
        ({**NAMES, "inputs": [], "replace": {}, "pairs": []}, "give pairs, or inputs"),
        ({**STRONGER, "change": "sideways"}, "'rise' or 'fall'"),
        ({"kind": "robustness", "name": "x"}, "minimum-functionality"),
        ({**PLAIN, "inputs": []}, "at least 1 item"),
    ],
)
def test_what_makes_no_test_is_refused(test, said):
    """A mistake in a test is one of the pipeline file, in words."""
    with pytest.raises(ValidationError, match="behaviour") as caught:
        read(test)
    assert said in str(caught.value)


def test_labels_of_behaviour_tests_are_the_pipelines():
    """A label that the pipeline's fixed list does not have could never be answered."""
    content = {
        "name": "x", "problem": "text-classification", "model": {"base": "b"},
        "data": {"path": "data/x", "labels": ["pos", "neg"]},
        "gate": {"behaviour": [PLAIN, STRONGER]},
    }  # fmt: skip
    assert Pipeline.model_validate(content).gate.behaviour[1].name == "stronger"
    content["gate"] = {"behaviour": [{**STRONGER, "label": "positive"}]}
    with pytest.raises(ValidationError, match="'positive'"):
        Pipeline.model_validate(content)
