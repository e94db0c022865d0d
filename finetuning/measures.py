"""What a prediction table is worth, as numbers that can be computed again on resampled rows.

Every measure here is a function of sums over rows, so that a bootstrap needs no more than how
often each row was drawn: draws x rows counts times rows x parts gives the sums of all draws.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finetuning.evaluation import BINS

if TYPE_CHECKING:
    import pandas

LABEL, PREDICTION, SCORE = "label", "prediction", "score"
TOKENS, WORDS, LOSS = "tokens", "words", "loss"


@dataclass(frozen=True)
class Measure:
    """One number of a prediction table.

    `split` gives each row's parts, (rows, parts), from a table and all labels; `join` makes the
    number, (draws,), from sums over rows, (draws, parts), and the number of rows. `columns` are
    the numeric columns that it reads; `reads_labels` says whether it holds label and prediction
    against each other.
    """

    name: str
    split: Callable[[pandas.DataFrame, Sequence[str]], np.ndarray]
    join: Callable[[np.ndarray, float], np.ndarray]
    columns: tuple[str, ...] = ()
    lower_is_better: bool = False
    reads_labels: bool = False

    @property
    def is_mean(self) -> bool:
        """Whether it is a mean over rows, and so a share where every row is 0 or 1."""
        return self.join is _average

    def compute(self, table: pandas.DataFrame) -> float:
        """The number on all rows of a table."""
        parts = self.split(table, list_labels(table))
        return float(self.join(parts.sum(axis=0, keepdims=True), len(table))[0])


def find_measure(name: str, lower_is_better: bool | None = None) -> Measure:
    """The measure of that name; a name that is none of the known is the mean of that column.

    Args:
        name: accuracy, macro_f1, expected_calibration_error, perplexity (of the column loss, the
            mean natural logarithm a token; weighted by the column tokens where there is one),
            word_perplexity (of loss, tokens and words), or any numeric column.
        lower_is_better: Whether less is better; None knows it for the known and for loss.
    """
    known = {
        "accuracy": Measure("accuracy", _split_accuracy, _average, reads_labels=True),
        "macro_f1": Measure("macro_f1", _split_macro_f1, _join_macro_f1, reads_labels=True),
        "expected_calibration_error": Measure(
            "expected_calibration_error",
            _split_calibration,
            _join_calibration,
            (SCORE,),
            lower_is_better=True,
            reads_labels=True,
        ),
        "perplexity": Measure("perplexity", _split_loss, _join_perplexity, (LOSS,), True),
        "word_perplexity": Measure(
            "word_perplexity", _split_words, _join_perplexity, (LOSS, TOKENS, WORDS), True
        ),
    }
    if name in known:
        return known[name]
    lower = name == LOSS if lower_is_better is None else lower_is_better
    return Measure(name, _split_column(name), _average, (name,), lower)


def list_labels(*tables: pandas.DataFrame) -> list[str]:
    """Every label that stands in the tables or is predicted there, sorted."""
    columns = [
        table[column]
        for table in tables
        for column in (LABEL, PREDICTION)
        if column in table.columns
    ]
    return sorted({value for column in columns for value in column.dropna().unique()})


def _average(sums: np.ndarray, rows: float) -> np.ndarray:
    return np.asarray(sums[:, 0] / rows)


def _split_accuracy(table: pandas.DataFrame, _: Sequence[str]) -> np.ndarray:
    return (table[LABEL] == table[PREDICTION]).to_numpy(float)[:, None]


def _split_column(name: str) -> Callable[[pandas.DataFrame, Sequence[str]], np.ndarray]:
    return lambda table, _: table[name].to_numpy(float)[:, None]


def _split_macro_f1(table: pandas.DataFrame, labels: Sequence[str]) -> np.ndarray:
    """Three parts a label: hit, true, predicted."""
    names = np.array(labels, dtype=object)
    true = table[LABEL].to_numpy(object)[:, None] == names
    predicted = table[PREDICTION].to_numpy(object)[:, None] == names
    return np.concatenate([true & predicted, true, predicted], axis=1).astype(float)


def _join_macro_f1(sums: np.ndarray, _: float) -> np.ndarray:
    """As scikit-learn's `f1_score(average="macro")`: over labels that are true or predicted."""
    hits, true, predicted = np.split(sums, 3, axis=1)
    total = true + predicted
    scores = np.divide(2 * hits, total, out=np.zeros_like(hits), where=total > 0)
    return np.asarray(scores.sum(axis=1) / np.maximum((total > 0).sum(axis=1), 1))


def _split_calibration(table: pandas.DataFrame, _: Sequence[str]) -> np.ndarray:
    """Confidence minus right answers, in the row's bin (Guo et al. 2017, arXiv 1706.04599)."""
    confidence = table[SCORE].to_numpy(float)
    place = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    parts = np.zeros((len(table), BINS))
    right = (table[LABEL] == table[PREDICTION]).to_numpy(float)
    parts[np.arange(len(table)), place] = confidence - right
    return parts


def _join_calibration(sums: np.ndarray, rows: float) -> np.ndarray:
    return np.asarray(np.abs(sums).sum(axis=1) / rows)


def _split_loss(table: pandas.DataFrame, _: Sequence[str]) -> np.ndarray:
    loss = table[LOSS].to_numpy(float)
    tokens = table[TOKENS].to_numpy(float) if TOKENS in table.columns else np.ones(len(table))
    return np.stack([loss * tokens, tokens], axis=1)


def _split_words(table: pandas.DataFrame, _: Sequence[str]) -> np.ndarray:
    """As `_split_loss`, but the same nats are shared out among words."""
    nats = table[LOSS].to_numpy(float) * table[TOKENS].to_numpy(float)
    return np.stack([nats, table[WORDS].to_numpy(float)], axis=1)


def _join_perplexity(sums: np.ndarray, _: float) -> np.ndarray:
    return np.asarray(np.exp(sums[:, 0] / sums[:, 1]))
