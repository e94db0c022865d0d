"""Cells of answers in every usual form, and where answers stand."""

import json

import pytest

from finetuning.answers import Answers, Place, find_first, find_place, read_answers

CONTEXT = "The BUS of the US is blue. The US has two."


@pytest.mark.parametrize(
    "cell",
    [
        '{"text": ["two", "US"], "answer_start": [38, 15]}',
        '[{"text": "two", "answer_start": 38}, {"text": "US", "answer_start": 15}]',
        "{'text': ['two', 'US'], 'answer_start': [38, 15]}",
        '{"text": ["two", " ", "US"], "answer_start": ["38", 0, 15.0]}',
    ],
)
def test_forms_with_starts_are_read_alike(cell):
    """A mapping of lists, SQuAD's list, and what Python prints; blank texts are no answers."""
    assert read_answers(cell) == Answers(("two", "US"), (38, 15))


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        ("two", ("two",)),
        ('["two", "US"]', ("two", "US")),
        ('{"text": "two"}', ("two",)),
        ('{"text": ["two"], "answer_start": [-1]}', ("two",)),
        ("[1]", ("[1]",)),
        ("{x}", ("{x}",)),
        ("[sic", ("[sic",)),
    ],
)
def test_forms_without_starts(cell, texts):
    """Texts alone, a start below 0, and answers that only look like lists."""
    assert read_answers(cell) == Answers(texts, (None,) * len(texts))


@pytest.mark.parametrize("cell", [None, "", " ", "[]", '{"text": [], "answer_start": []}'])
def test_no_answer(cell):
    """A blank cell and empty lists say that the question has no answer."""
    assert read_answers(cell) == Answers()


@pytest.mark.parametrize(
    "cell",
    [
        '{"text": ["two"], "answer_start": [1, 2]}',
        '{"answer_start": [1]}',
        '{"text": [2], "answer_start": [1]}',
        "{'text': array(['two'], dtype=object), 'answer_start': array([38])}",
    ],
)
def test_unreadable(cell):
    """Lists of different lengths, no text, a number as text, and numpy's own print."""
    assert read_answers(cell) is None


def test_text_from_json_is_kept_letter_by_letter():
    """Accents and quotes come back as they were."""
    text = 'é "x" \u2028'
    assert read_answers(json.dumps({"text": [text], "answer_start": [3]})).texts == (text,)


def test_right_start_is_taken_as_it_is():
    """Also where the answer stands elsewhere too, or has white space around it."""
    assert find_place("US", 31, CONTEXT) == Place(31, 33)
    assert find_place("US", 5, CONTEXT) == Place(5, 7)
    assert find_place(" US ", 30, CONTEXT) == Place(31, 33)


@pytest.mark.parametrize(("start", "found"), [(20, 15), (26, 31), (1000, 31), (0, 5)])
def test_wrong_start_gives_the_nearest(start, found):
    """The nearest occurrence to either side, said to be moved."""
    assert find_place("US", start, CONTEXT) == Place(found, found + 2, moved=True)


def test_without_start_a_whole_word_is_taken():
    """The first occurrence that is no part of a longer word; several are ambiguous."""
    assert find_place("US", None, CONTEXT) == Place(15, 17, ambiguous=True)
    assert find_place("two", None, CONTEXT) == Place(38, 41)
    assert find_place("U", None, CONTEXT) == Place(5, 6, ambiguous=True)


def test_missing_answers_stand_nowhere():
    """Another case, and an empty text."""
    assert find_place("bus", 4, CONTEXT) is None
    assert find_place("", None, CONTEXT) is None


def test_first_answer_that_is_found():
    """An answer that stands nowhere gives way to the next."""
    assert find_first(Answers(("none", "two"), (0, 38)), CONTEXT) == Place(38, 41)
    assert find_first(Answers(("none",), (0,)), CONTEXT) is None
