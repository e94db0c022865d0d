"""The nearest sentence, and saying nothing, as baselines."""

import json

import pandas
import pytest

from finetuning.question_baselines import predict_simply, split_sentences
from finetuning.span_scoring import mark
from tests.finetuning.question_rows import COLUMNS

CONTEXT = "The film is red. The plot was dull! Who wrote the book? Nobody."


def table(*rows):
    """Rows of question, context and answers."""
    return pandas.DataFrame(rows, columns=["question", "context", "answers"], dtype=object)


def predict(train, validation, test):
    """Baselines by name."""
    tables = {"train": train, "validation": validation, "test": test}
    return {one.name: one for one in predict_simply(tables, {}, COLUMNS, ())}


def test_sentences():
    """Cut after what ends a sentence, and at line ends; never in a number."""
    assert split_sentences(CONTEXT) == [
        "The film is red.", "The plot was dull!", "Who wrote the book?", "Nobody.",
    ]  # fmt: skip
    assert split_sentences("About 3.5 of it\nand more") == ["About 3.5 of it", "and more"]
    assert split_sentences("  ") == [""]


def test_sentence_with_the_questions_words_is_given():
    """It is marked as any answer is: F1 over words."""
    train = table(("film ?", CONTEXT, "red"))
    test = table(("What colour has the film?", CONTEXT, "red"), ("a plot", CONTEXT, "dull"))
    found = predict(train, train, test)
    assert list(found) == ["sentence"]
    answers = found["sentence"].answers
    assert list(answers["answer"]) == ["The film is red.", "The plot was dull!"]
    marked = mark(answers, test, COLUMNS)
    # "film is red" against "red": precision 1/3, recall 1.
    assert list(marked["f1"]) == [pytest.approx(0.5), pytest.approx(0.5)]


def test_silence_where_train_has_unanswerable_questions():
    """Both baselines then know no answer: always, or where no sentence is near."""
    none = json.dumps({"text": [], "answer_start": []})
    train = table(("film ?", CONTEXT, "red"), ("the weather ?", CONTEXT, none))
    validation = table(("is the film red", CONTEXT, "The film is red"), ("zzz", CONTEXT, none))
    found = predict(train, validation, validation)
    assert list(found["silence"].answers["answer"]) == ["", ""]
    assert list(found["sentence"].answers["answer"]) == ["The film is red.", ""]
