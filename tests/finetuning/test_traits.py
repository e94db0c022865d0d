"""What is compared of the rows of each problem, and the vocabulary, worked by hand."""

import pandas
import pytest

from finetuning.config import Data
from finetuning.traits import compare_words, find_traits, join_words, split_words


def make_data(**columns):
    """The pipeline file's data section."""
    return Data(path="data/x", train="train.csv", columns=columns, slices=["source"])


def test_texts_have_labels_lengths_and_slices():
    """Both texts of a pair are measured; a missing one is empty; an unknown slice is left out."""
    rows = pandas.DataFrame(
        {"text": ["ab", None], "other": ["x", "xyz"], "label": ["p", None], "source": ["w", "m"]},
        dtype=object,
    )
    data = make_data(text_pair="other")
    found = find_traits(rows, data, "text-classification")
    assert list(found) == [
        "text length in characters",
        "text pair length in characters",
        "labels",
        "slice source",
    ]
    assert found["text length in characters"].tolist() == [2, 0]
    assert list(join_words(rows, data, "text-classification").str.strip()) == ["ab x", "xyz"]
    less = find_traits(rows.drop(columns="source"), data, "text-classification")
    assert "slice source" not in less


def test_questions_have_lengths_and_whether_they_are_answered():
    """An empty list says that the context does not answer; what cannot be read is said."""
    answers = ['["b"]', "[]", None, '{"text": ["x"]']
    rows = pandas.DataFrame(
        {"question": ["q"] * 4, "context": ["abc"] * 4, "answers": answers}, dtype=object
    )
    found = find_traits(rows, make_data(), "question-answering")
    assert found["questions with an answer"].tolist() == [
        "answerable",
        "unanswerable",
        "unanswerable",
        "unreadable",
    ]
    assert found["context length in characters"].tolist() == [3] * 4
    assert join_words(rows, make_data(), "question-answering")[0].split() == ["q", "abc"]


def test_images_have_labels_and_sizes_and_no_words():
    """An image that cannot be read has no size."""
    rows = pandas.DataFrame(
        {
            "image": ["a.png", "b.png"],
            "label": ["x", "y"],
            "image.width": ["64", None],
            "image.height": ["32", None],
        },
        dtype=object,
    )
    found = find_traits(rows, make_data(), "image-classification")
    assert list(found) == ["image width in pixels", "image height in pixels", "labels"]
    assert found["image width in pixels"].isna().tolist() == [False, True]
    assert not join_words(rows, make_data(), "image-classification").str.strip().any()


def test_language_models_have_lengths_and_words():
    """Of prompts and completions both."""
    rows = pandas.DataFrame({"ask": ["one two"], "reply": ["three"]}, dtype=object)
    data = make_data(prompt="ask", completion="reply")
    found = find_traits(rows, data, "causal-lm")
    assert list(found) == ["prompt length in characters", "completion length in characters"]
    assert join_words(rows, data, "causal-lm")[0].split() == ["one", "two", "three"]


def test_words_are_cut_at_what_is_no_letter():
    """Case counts for nothing; an apostrophe inside belongs to the word."""
    assert split_words("Don't stop: ÉTÉ 2024, (it\u2019s) 'so'") == [
        *("don't", "stop", "été", "2024", "it\u2019s", "so"),
    ]


def rows(*pairs):
    """Rows as (split, words)."""
    return pandas.DataFrame(pairs, columns=["split", "words"])


def test_new_words_are_counted_against_the_training_rows():
    """Of 6 new words 3 are unknown to train, of 4 held-out ones 1; words of test are not known."""
    before = rows(("train", "a b c"), ("test", "a b"), ("validation", "a z"))
    added = rows(("train", "a z z"), ("test", "b Q c"))
    vocabulary, shift = compare_words(before, added)
    assert vocabulary.words == 6
    assert vocabulary.unknown == pytest.approx(0.5)
    assert vocabulary.usual == pytest.approx(0.25)
    assert vocabulary.frequent == (("q", 1), ("z", 1))
    assert shift.rows == (2, 2)
    # By row: 0 and 1/2 before, 2/3 and 1/3 now.
    assert shift.before["mean"] == pytest.approx(0.25)
    assert shift.after["mean"] == pytest.approx(0.5)
    assert str(vocabulary).startswith("50.0% of the 6 words of the new texts stood in no training")


def test_without_held_out_rows_there_is_nothing_usual():
    """The rate is given all the same, and not tested."""
    vocabulary, shift = compare_words(rows(("train", "a")), rows(("train", "b")))
    assert (vocabulary.unknown, vocabulary.usual) == (1.0, None)
    assert shift.p_value is None
