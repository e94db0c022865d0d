"""Measures of a prediction table against scikit-learn and numbers worked out by hand."""

import math

import numpy as np
import pandas
import pytest
from sklearn.metrics import f1_score

from finetuning.evaluation import measure_calibration
from finetuning.measures import find_measure, list_labels


def draw_table(rows=200, classes=4):
    """A table of random labels and predictions; the last class is rare."""
    generator = np.random.default_rng(3)
    names = np.array([f"l{number}" for number in range(classes)])
    label = names[generator.integers(0, classes, rows)]
    guess = names[generator.integers(0, classes - 1, rows)]
    prediction = np.where(generator.random(rows) < 0.6, label, guess)
    score = generator.uniform(0.25, 1, rows)
    return pandas.DataFrame({"label": label, "prediction": prediction, "score": score})


def test_macro_f1_is_scikit_learns():
    """Over the labels that are true or predicted, as f1_score does by default."""
    table = draw_table()
    expected = f1_score(table["label"], table["prediction"], average="macro")
    assert find_measure("macro_f1").compute(table) == pytest.approx(expected)
    few = table[table["label"] != "l3"].head(9)
    expected = f1_score(few["label"], few["prediction"], average="macro")
    assert find_measure("macro_f1").compute(few) == pytest.approx(expected)


def test_accuracy_is_the_share_of_right_rows():
    """Three of four."""
    table = pandas.DataFrame({"label": list("aabb"), "prediction": list("aaba")})
    assert find_measure("accuracy").compute(table) == 0.75


def test_calibration_is_that_of_the_evaluation():
    """For two labels, the error that evaluation measures from probabilities."""
    generator = np.random.default_rng(0)
    first = generator.random(300)
    probabilities = np.stack([first, 1 - first], axis=1)
    labels = generator.integers(0, 2, 300)
    names = np.array(["a", "b"])
    table = pandas.DataFrame(
        {
            "label": names[labels],
            "prediction": names[probabilities.argmax(axis=1)],
            "score": probabilities.max(axis=1),
        }
    )
    expected, _ = measure_calibration(probabilities, labels)
    assert find_measure("expected_calibration_error").compute(table) == pytest.approx(expected)


def test_perplexity_weighs_tokens():
    """Losses 1 and 3 over 3 and 1 tokens: exp(6 / 4); without tokens exp(2)."""
    table = pandas.DataFrame({"label": "x", "prediction": "x", "loss": [1.0, 3.0]})
    assert find_measure("perplexity").compute(table) == pytest.approx(math.exp(2))
    table["tokens"] = [3.0, 1.0]
    assert find_measure("perplexity").compute(table) == pytest.approx(math.exp(1.5))


def test_any_numeric_column_is_a_measure():
    """Its mean; less is better only where that is said, or for a loss."""
    table = pandas.DataFrame({"label": "x", "prediction": "x", "f1": [0.5, 1.0]})
    assert find_measure("f1").compute(table) == 0.75
    assert not find_measure("f1").lower_is_better
    assert find_measure("wer", lower_is_better=True).lower_is_better
    assert find_measure("loss").lower_is_better


def test_labels_of_both_tables():
    """True or predicted, in any of the tables, sorted."""
    one = pandas.DataFrame({"label": ["b"], "prediction": ["a"]})
    other = pandas.DataFrame({"label": ["b"], "prediction": ["c"]})
    assert list_labels(one, other) == ["a", "b", "c"]


def test_word_perplexity_shares_the_nats_among_words():
    """Losses 1 and 3 over 3 and 1 tokens are 6 nats: of 2 words exp(3), and so when resampled."""
    table = pandas.DataFrame({"loss": [1.0, 3.0], "tokens": [3, 1], "words": [1, 1]})
    measure = find_measure("word_perplexity")
    assert measure.compute(table) == pytest.approx(math.exp(3))
    assert measure.lower_is_better
    parts = measure.split(table, [])
    draws = np.array([[1, 1], [2, 0]]) @ parts
    np.testing.assert_allclose(measure.join(draws, 2), np.exp([3.0, 3.0]))
    assert parts.tolist() == [[3.0, 1.0], [3.0, 1.0]]


def test_tables_without_labels():
    """What knows of no labels is computed without them; cells without one are no label."""
    table = pandas.DataFrame({"id": ["a", "b"], "loss": [1.0, 3.0]})
    assert list_labels(table) == []
    assert find_measure("perplexity").compute(table) == pytest.approx(math.exp(2))
    known = ("accuracy", "macro_f1", "expected_calibration_error")
    assert all(find_measure(name).reads_labels for name in known)
    assert not any(find_measure(name).reads_labels for name in ("perplexity", "f1"))
    assert list_labels(pandas.DataFrame({"label": ["a", None], "prediction": ["b", "a"]})) == [
        "a",
        "b",
    ]
