"""The baselines against scikit-learn and values worked by hand."""

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from finetuning.baselines import TFIDF_STRENGTHS, predict_majority, predict_tfidf

TRAIN = ["good fine film", "great good plot", "superb film", "bad film", "awful dull plot", "poor"]
LABELS = np.array([1, 1, 1, 0, 0, 0])


def test_majority():
    """Every row gets the most frequent training label."""
    predictions = predict_majority(np.array([2, 0, 2, 1, 2, 0]), 4)
    np.testing.assert_array_equal(predictions, [2, 2, 2, 2])


def test_majority_of_a_tie():
    """Of labels that are equally frequent the first one is taken, whatever the rows' order."""
    assert predict_majority(np.array([1, 0, 1, 0]), 1).tolist() == [0]
    assert predict_majority(np.array([0, 1, 0, 1]), 1).tolist() == [0]


def test_tfidf_learns():
    """Words that tell the classes apart are found, in new texts too."""
    texts = ["good plot", "bad plot", "superb", "dull awful"]
    predictions = predict_tfidf(TRAIN, LABELS, TRAIN, LABELS, texts)
    assert predictions.dtype == np.int64
    np.testing.assert_array_equal(predictions, [1, 0, 1, 0])


def test_tfidf_is_scikit_learns_best():
    """The predictions are those of the strength that scores best on validation."""
    generator = np.random.default_rng(0)
    words = np.array(
        ["a", "b", "c", "d", "e", "f", "g", "h", "film", "plot", "good", "bad", "fine", "dull"]
    )
    texts = [" ".join(generator.choice(words, 5)) for _ in range(180)]
    weights = dict(zip(words, generator.normal(size=len(words)), strict=True))
    scores = [sum(weights[word] for word in text.split()) for text in texts]
    labels = np.digitize(scores + generator.normal(0, 0.5, 180), [-1, 1])
    train, checked, test = texts[:80], texts[80:120], texts[120:]
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\w+|\S")
    matrix = vectorizer.fit_transform(train)
    models = [
        LogisticRegression(C=c, max_iter=200).fit(matrix, labels[:80]) for c in TFIDF_STRENGTHS
    ]
    best = max(models, key=lambda model: model.score(vectorizer.transform(checked), labels[80:120]))
    got = predict_tfidf(train, labels[:80], checked, labels[80:120], test)
    np.testing.assert_array_equal(got, best.predict(vectorizer.transform(test)))


def test_tfidf_of_single_characters():
    """Texts of one character or sign are tokens, not lost."""
    texts = ["!", "?", "x", "好"]
    labels = np.array([0, 1, 2, 3])
    predictions = predict_tfidf(texts, labels, texts, labels, texts)
    np.testing.assert_array_equal(predictions, labels)


def test_tfidf_of_unknown_words():
    """A text without a known word, or without any, still gets a label."""
    predictions = predict_tfidf(TRAIN, LABELS, TRAIN, LABELS, ["zzz", ""])
    assert set(predictions) <= {0, 1}


def test_tfidf_labels_keep_their_numbers():
    """A class that the training rows lack shifts no other class's number."""
    predictions = predict_tfidf(TRAIN, LABELS * 4, TRAIN, LABELS * 4, ["good plot", "bad plot"])
    np.testing.assert_array_equal(predictions, [4, 0])


def test_tfidf_without_validation():
    """Without validation rows there is nothing to choose by, and that is an error."""
    with pytest.raises(ValueError):  # noqa: PT011 - scikit-learn's words
        predict_tfidf(TRAIN, LABELS, [], np.array([], int), ["good"])
