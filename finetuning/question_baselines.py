"""What questions are worth without a base model: the sentence that shares most words with each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.answers import Answers, read_answers
from finetuning.parts import Baseline
from finetuning.spans import choose_threshold
from finetuning.squad_metrics import score_answer

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


def predict_simply(
    tables: Mapping[str, pandas.DataFrame],
    rows: Mapping[str, Any],  # noqa: ARG001 - every problem's part is called alike
    columns: Columns,
    labels: Sequence[str],  # noqa: ARG001 - likewise
) -> Sequence[Baseline]:
    """The nearest sentence; and no answer, where some question of train has none.

    Words are weighed by TF-IDF, fitted on train's contexts. Whether a sentence whose words are far
    from the question's is given at all is chosen on validation.
    """
    import pandas

    train, validation, test = (tables[split] for split in ("train", "validation", "test"))
    vectorizer = _fit(list(train[columns.context].unique()))
    nearest, closeness = _find_nearest(vectorizer, validation, columns)
    least = _choose_least(nearest, closeness, list(validation[columns.answers]))
    given, closeness = _find_nearest(vectorizer, test, columns)
    texts = [text if near >= least else "" for text, near in zip(given, closeness, strict=True)]
    found = pandas.DataFrame({"answer": texts, "score": closeness}, index=test.index)
    sentence = "the sentence of the context nearest to the question in words"
    baselines = [Baseline("sentence", sentence, found)]
    if any(read_answers(cell) == Answers() for cell in train[columns.answers]):
        nothing = pandas.DataFrame({"answer": "", "score": 1.0}, index=test.index)
        baselines.append(Baseline("silence", "no answer to any question", nothing))
    return baselines


def split_sentences(context: str) -> list[str]:
    """The sentences of a text, cut after full stops, question and exclamation marks, and lines."""
    sentences = [sentence.strip() for sentence in _SENTENCE_END.split(context)]
    return [sentence for sentence in sentences if sentence] or [""]


def _fit(contexts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    # A token is one character at least, so that contexts of single characters are not empty.
    return TfidfVectorizer(sublinear_tf=True, token_pattern=r"(?u)\w+|\S").fit(contexts)


def _find_nearest(
    vectorizer: Any, table: pandas.DataFrame, columns: Columns
) -> tuple[list[str], np.ndarray]:
    """For each question its context's nearest sentence, and their cosine."""
    contexts = list(table[columns.context])
    sentences = {context: split_sentences(context) for context in dict.fromkeys(contexts)}
    counts = [len(own) for own in sentences.values()]
    starts = dict(zip(sentences, np.cumsum([0, *counts]), strict=False))
    # (sentences of all contexts, words) and (questions, words), rows of length 1 or 0
    vectors = vectorizer.transform([one for own in sentences.values() for one in own])
    asked = vectorizer.transform(table[columns.question])
    texts, closeness = [], np.zeros(len(contexts))
    for number, context in enumerate(contexts):
        start, own = starts[context], sentences[context]
        cosines = (vectors[start : start + len(own)] @ asked[number].T).toarray()[:, 0]
        best = int(cosines.argmax())
        texts.append(own[best])
        closeness[number] = cosines[best]
    return texts, closeness


def _choose_least(
    texts: Sequence[str], closeness: np.ndarray, cells: Sequence[str | None]
) -> float:
    """The least cosine at which a sentence is given, so that F1 is highest."""
    golds = [(read_answers(cell) or Answers()).texts for cell in cells]
    given = np.array([score_answer(text, gold)[1] for text, gold in zip(texts, golds, strict=True)])
    silent = np.array([float(not gold) for gold in golds])
    return -choose_threshold(-closeness, given, silent)
