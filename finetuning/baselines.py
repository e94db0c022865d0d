"""Honest baselines: what the same rows give without fine-tuning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from finetuning.parts import Baseline

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns
    from finetuning.parts import Rows

TFIDF_STRENGTHS = (1.0, 10.0)  # inverse penalties; the validation split chooses


def predict_majority(train_labels: np.ndarray, rows: int) -> np.ndarray:
    """The most frequent training label for every row: class numbers, (rows,)."""
    return np.full(rows, int(np.bincount(train_labels).argmax()))


def predict_tfidf(
    train: Sequence[str],
    train_labels: np.ndarray,
    validation: Sequence[str],
    validation_labels: np.ndarray,
    test: Sequence[str],
) -> np.ndarray:
    """TF-IDF of words and word pairs with logistic regression (scikit-learn): class numbers."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    # A token is one character at least, so that texts of single characters are not lost.
    vectorizer = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), token_pattern=r"(?u)\w+|\S")
    matrix = vectorizer.fit_transform(train)
    checked = vectorizer.transform(validation)
    best, chosen = -1.0, None
    # The optimiser's many short vector sums gain nothing from threads, which wait for one another.
    with warnings.catch_warnings(), threadpool_limits(1, "blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        for strength in TFIDF_STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=200).fit(matrix, train_labels)
            accuracy = float((model.predict(checked) == validation_labels).mean())
            if accuracy > best:
                best, chosen = accuracy, model
    if chosen is None:
        raise ValueError("there are no validation rows to choose a baseline on")
    return np.asarray(chosen.predict(vectorizer.transform(test)), np.int64)


def predict_simply(
    tables: Mapping[str, pandas.DataFrame],
    rows: Mapping[str, Rows],
    columns: Columns,
    labels: Sequence[str],
) -> tuple[Baseline, ...]:
    """The most frequent label, and TF-IDF, see `predict_tfidf` and `problem.Comparing`."""
    texts = {split: _join_texts(table, columns) for split, table in tables.items()}
    found = predict_tfidf(
        texts["train"],
        rows["train"].labels,
        texts["validation"],
        rows["validation"].labels,
        texts["test"],
    )
    return (
        describe_majority(rows, labels),
        Baseline("tfidf", "TF-IDF with logistic regression", name_classes(found, labels)),
    )


def describe_majority(rows: Mapping[str, Rows], labels: Sequence[str]) -> Baseline:
    """The baseline that knows nothing of a row."""
    found = predict_majority(rows["train"].labels, len(rows["test"]))
    return Baseline("majority", "the most frequent label", name_classes(found, labels))


def name_classes(predictions: np.ndarray, labels: Sequence[str]) -> pandas.DataFrame:
    """Class numbers, (rows,), as the answers of `class_scoring`, without a score."""
    import pandas

    return pandas.DataFrame({"label": np.array(labels, dtype=object)[predictions]})


def _join_texts(rows: pandas.DataFrame, columns: Columns) -> list[str]:
    if columns.text_pair is None:
        return list(rows[columns.text])
    return list(rows[columns.text] + " \n " + rows[columns.text_pair].fillna(""))
