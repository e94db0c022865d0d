"""Scores and calibration against scikit-learn, scipy and values worked by hand."""

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import confusion_matrix, f1_score, precision_recall_fscore_support

from finetuning.evaluation import (
    compute_macro_f1,
    compute_probabilities,
    confuse,
    measure_calibration,
    score_classes,
)

# (classes that labels come from, classes that predictions come from), of 5 classes.
DRAWS = {
    "all": (5, 5),
    "absent from both": (4, 4),
    "never predicted": (5, 3),
    "never true": (3, 5),
    "one class": (1, 1),
}


@pytest.fixture(params=DRAWS.values(), ids=DRAWS.keys())
def drawn(request):
    """Random labels and predictions, some classes absent."""
    generator = np.random.default_rng(3)
    true, predicted = request.param
    return generator.integers(0, true, 200), generator.integers(0, predicted, 200)


def test_confusion(drawn):
    """Counts of true by predicted are scikit-learn's."""
    labels, predictions = drawn
    expected = confusion_matrix(labels, predictions, labels=range(5))
    np.testing.assert_array_equal(confuse(labels, predictions, 5), expected)


def test_class_scores(drawn):
    """Precision, recall, F1 and rows of each class are scikit-learn's; 0 where undefined."""
    labels, predictions = drawn
    scores = score_classes(confuse(labels, predictions, 5), tuple("abcde"))
    assert [score.label for score in scores] == list("abcde")
    expected = precision_recall_fscore_support(
        labels, predictions, labels=range(5), zero_division=0
    )
    got = [
        [getattr(score, name) for score in scores] for name in ("precision", "recall", "f1", "rows")
    ]
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


def test_macro_f1(drawn):
    """Macro F1 is scikit-learn's, also where classes are absent."""
    labels, predictions = drawn
    expected = f1_score(labels, predictions, average="macro", zero_division=0)
    got = compute_macro_f1(confuse(labels, predictions, 5))
    assert got == pytest.approx(expected, abs=1e-12)


def test_macro_f1_of_nothing():
    """No rows give 0, not a division by zero."""
    assert compute_macro_f1(np.zeros((3, 3), int)) == 0.0


def test_calibration_by_hand():
    """Error and bins of five rows, worked by hand."""
    sure = np.array([0.95, 0.91, 0.85, 0.65, 0.55])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([0, 1, 0, 1, 0])  # right, wrong, right, wrong, right
    error, bins = measure_calibration(probabilities, labels)
    # 2/5*|0.93-0.5| + 1/5*|0.85-1| + 1/5*|0.65-0| + 1/5*|0.55-1|
    assert error == pytest.approx(0.172 + 0.03 + 0.13 + 0.09)
    assert [bin_.rows for bin_ in bins] == [0, 0, 0, 0, 0, 1, 1, 0, 1, 2]
    assert bins[9].confidence == pytest.approx(0.93)
    assert bins[9].accuracy == 0.5
    assert [(bin_.low, bin_.high) for bin_ in bins] == [(k / 10, (k + 1) / 10) for k in range(10)]


def test_calibration_edges():
    """A bin holds its upper edge and not its lower one; full certainty is in the last bin."""
    sure = np.array([0.6, 0.7, 0.8, 0.9, 1.0, 0.5])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    probabilities[-1] = [0.5, 0.5]
    _, bins = measure_calibration(probabilities, np.zeros(6, int))
    assert [bin_.rows for bin_ in bins] == [0, 0, 0, 0, 1, 1, 1, 1, 1, 1]


def test_calibration_of_perfect_certainty():
    """Always sure and always right is no error; always sure and always wrong is error 1."""
    probabilities = np.eye(3)
    assert measure_calibration(probabilities, np.arange(3))[0] == 0.0
    assert measure_calibration(probabilities, np.array([1, 2, 0]))[0] == 1.0


def test_probabilities():
    """Softmax is scipy's in float64, and rows sum to 1."""
    logits = np.random.default_rng(0).normal(0, 5, (50, 7)).astype(np.float32)
    got = compute_probabilities(logits)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got, softmax(logits.astype(np.float64), axis=1), rtol=1e-6)
    np.testing.assert_allclose(got.sum(axis=1), 1.0, atol=1e-12)


def test_probabilities_of_extreme_logits():
    """Huge logits neither overflow nor become not-a-number."""
    logits = np.array([[1e30, -1e30], [-1e30, -1e30], [1e4, 1e4 - 1], [0.0, 800.0]])
    got = compute_probabilities(logits)
    third = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(got, [[1, 0], [0.5, 0.5], [third, 1 - third], [0, 1]], atol=1e-12)
