"""Honest baselines: what the same rows give without fine-tuning."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns
    from finetuning.problem import Rows

TFIDF_STRENGTHS = (1.0, 10.0)  # inverse penalties; the validation split chooses


@dataclass(frozen=True)
class Baseline:
    """A baseline's predictions on the test rows: class numbers, (rows,)."""

    name: str
    description: str
    predictions: np.ndarray


def predict_majority(train_labels: np.ndarray, rows: int) -> Baseline:
    """The most frequent training label for every row."""
    majority = int(np.bincount(train_labels).argmax())
    return Baseline("majority", "the most frequent label", np.full(rows, majority))


def predict_tfidf(
    train: Sequence[str],
    train_labels: np.ndarray,
    validation: Sequence[str],
    validation_labels: np.ndarray,
    test: Sequence[str],
) -> Baseline:
    """TF-IDF of words and word pairs with logistic regression (scikit-learn)."""
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
    predictions = chosen.predict(vectorizer.transform(test))
    return Baseline("tfidf", "TF-IDF with logistic regression", np.asarray(predictions, np.int64))


def predict_simply(
    tables: Mapping[str, pandas.DataFrame], rows: Mapping[str, Rows], columns: Columns
) -> Baseline:
    """What TF-IDF gives, see `predict_tfidf` and `problem.Comparing`."""
    texts = {split: _join_texts(table, columns) for split, table in tables.items()}
    return predict_tfidf(
        texts["train"],
        rows["train"].labels,
        texts["validation"],
        rows["validation"].labels,
        texts["test"],
    )


def _join_texts(rows: pandas.DataFrame, columns: Columns) -> list[str]:
    if columns.text_pair is None:
        return list(rows[columns.text])
    return list(rows[columns.text] + " \n " + rows[columns.text_pair].fillna(""))
