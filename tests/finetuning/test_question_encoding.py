"""Questions and contexts in windows, held against the tokenizer's own."""

import json

import numpy as np
import pandas
import pytest

from finetuning.config import Columns, Training
from finetuning.errors import InputError
from finetuning.question_encoding import (
    find_usable,
    load_rows,
    make_example,
    open_encoder,
    save_rows,
    vary,
)
from finetuning.windows import NOWHERE
from tests.finetuning.question_rows import COLUMNS, make_questions, open_questions

LONG = "the film is red , the plot is green , the cast is blue , the music is red and fine ."


def table(*rows):
    """Rows of question, context and answers."""
    return pandas.DataFrame(rows, columns=["question", "context", "answers"], dtype=object)


def encode(folder, *rows, **settings):
    """Rows in windows."""
    return open_questions(folder, **settings).encode(table(*rows), None)


def read_span(rows, window, context):
    """The text of a window's answer, by its tokens' places in the context."""
    start = rows.offsets[window]
    places = rows.places[start + rows.starts[window]], rows.places[start + rows.ends[window]]
    return context[places[0][0] : places[1][1]]


@pytest.mark.parametrize(("max_length", "stride"), [(24, 4), (24, 0), (16, 3), (48, 8), (20, 7)])
def test_windows_are_those_of_the_tokenizer(bert_folder, max_length, stride):
    """Tokens, types and places are those that transformers' own overflow gives."""
    encoder = open_questions(bert_folder, max_length, stride)
    rows = encoder.encode(table(("the cast ?", LONG, "[]"), ("is it ?", "a film .", "[]")), None)
    own = encoder.tokenizer(
        ["the cast ?", "is it ?"],
        [LONG, "a film ."],
        truncation="only_second",
        max_length=max_length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    assert len(rows) == len(own["input_ids"])
    assert list(rows.sources) == own["overflow_to_sample_mapping"]
    for window in range(len(rows)):
        begin, end = rows.offsets[window : window + 2]
        assert list(rows.tokens[begin:end]) == own["input_ids"][window]
        assert list(rows.types[begin:end]) == own["token_type_ids"][window]
        expected = [
            place if part == 1 else (NOWHERE, NOWHERE)
            for place, part in zip(
                own["offset_mapping"][window], own.sequence_ids(window), strict=True
            )
        ]
        assert [tuple(place) for place in rows.places[begin:end]] == expected


def test_answer_stands_in_the_windows_that_hold_it(bert_folder):
    """Where a window holds all of the answer its tokens give the text, else it is the first."""
    answer = json.dumps({"text": ["blue , the music"], "answer_start": [LONG.index("blue")]})
    rows = encode(bert_folder, ("the cast ?", LONG, answer), max_length=18, stride=6)
    held = [window for window in range(len(rows)) if rows.starts[window] > 0]
    assert held
    assert len(held) < len(rows)
    assert {read_span(rows, window, LONG) for window in held} == {"blue , the music"}
    assert not rows.ends[rows.starts == 0].any()
    start = LONG.index("blue")
    assert (rows.spans == [start, start + 16]).all()


def test_wrong_start_is_mended(bert_folder):
    """The nearest place of the answer is learned from, not the letters at the given start."""
    answer = json.dumps({"text": ["red"], "answer_start": [LONG.rindex("red") + 2]})
    rows = encode(bert_folder, ("the music ?", LONG, answer))
    assert read_span(rows, 0, LONG) == "red"
    assert rows.spans[0, 0] == LONG.rindex("red")


def test_part_of_a_word_takes_the_whole_token(bert_folder):
    """A token that holds a character of the answer belongs to it."""
    rows = encode(bert_folder, ("the cast ?", "the cast is green", '{"text": "reen"}'))
    assert read_span(rows, 0, "the cast is green") == "green"


def test_questions_without_answers(bert_folder):
    """No answer, an answer that stands nowhere, and no answers column at all."""
    rows = encode(bert_folder, ("the cast ?", LONG, "[]"), ("the cast ?", LONG, "purple"))
    served = open_questions(bert_folder).encode(
        table(("a ?", LONG, "x"))[["question", "context"]], None
    )
    for one in (rows, served):
        assert not one.starts.any()
        assert not one.ends.any()
        assert (one.spans == NOWHERE).all()


def test_nothing_to_read_still_makes_a_window(bert_folder):
    """An empty question, an empty context, and cells that are null."""
    rows = encode(bert_folder, ("", "", None), (None, None, None))
    assert list(rows.sources) == [0, 1]
    assert list(rows.lengths) == [3, 3]
    assert list(rows.labels) == [-1, -1]


def test_long_question_leaves_room_for_the_context(bert_folder):
    """A question takes half of a window at most."""
    rows = encode(bert_folder, ("the film " * 40, LONG, "green"), max_length=24)
    assert rows.lengths.max() == 24
    assert any(
        read_span(rows, window, LONG) == "green"
        for window in range(len(rows))
        if rows.starts[window]
    )


def test_no_rows_make_no_windows(bert_folder):
    """An empty table, as a served model may be handed."""
    rows = encode(bert_folder)
    assert len(rows) == 0
    assert rows.tokens.dtype == np.int32


def test_batch_says_where_answers_may_be(bert_folder):
    """The first token and the context's; never the question, what stands around it, or padding."""
    rows = encode(bert_folder, ("the cast ?", "a film .", "film"), ("is it ?", "one .", "[]"))
    batch, targets = rows.draw(np.array([1, 0]), 0)
    # [CLS] question(3) [SEP] context [SEP]
    allowed = [[1, 0, 0, 0, 0, 1, 1, 0, 0], [1, 0, 0, 0, 0, 1, 1, 1, 0]]
    assert batch["allowed"].int().tolist() == allowed
    assert batch["attention_mask"].sum(dim=1).tolist() == [8, 9]
    assert targets.tolist() == [[0, 0], [6, 6]]


def test_taken_rows_are_the_same_rows(bert_folder):
    """Some windows in another order, with all that is known of them."""
    rows = open_questions(bert_folder, 18, 4).encode(make_questions(4, 1), None)
    some = rows.take(np.array([3, 0]))
    for new, old in enumerate((3, 0)):
        begin, end = rows.offsets[old : old + 2]
        first, last = some.offsets[new : new + 2]
        for name in ("tokens", "types", "places"):
            assert (getattr(some, name)[first:last] == getattr(rows, name)[begin:end]).all()
        for name in ("starts", "ends", "sources", "spans"):
            assert (getattr(some, name)[new] == getattr(rows, name)[old]).all()


def test_rows_are_kept_whole(bert_folder, tmp_path):
    """What is written is read again, array by array."""
    rows = open_questions(bert_folder).encode(make_questions(3, 1), None)
    save_rows(rows, tmp_path / "rows.safetensors")
    again = load_rows(tmp_path / "rows.safetensors")
    for name in ("tokens", "offsets", "starts", "ends", "sources", "spans", "places", "types"):
        left, right = getattr(rows, name), getattr(again, name)
        assert left.dtype == right.dtype
        assert (left == right).all()
    assert vary(again, Training()) is again


def test_usable_rows():
    """A question, a context and an answer that is found; a test row's answer need not be."""
    rows = table(
        ("q", "a film", "film"),
        ("q", "a film", "[]"),
        ("q", "a film", "book"),
        ("q", "a film", '{"answer_start": [1]}'),
        (" ", "a film", "film"),
        ("q", None, "film"),
    )
    assert list(find_usable(rows, COLUMNS)) == [True, True, False, False, False, False]
    tested = rows.assign(split="test")
    assert list(find_usable(tested, COLUMNS)) == [True, True, True, False, False, False]


def test_example_has_no_nulls():
    """A served model takes texts."""
    example = make_example(table(("q", None, "x"))[["question", "context"]], COLUMNS, None)
    assert example.to_dict("records") == [{"question": "q", "context": ""}]


def test_saved_encoder_encodes_alike(bert_folder, tmp_path):
    """A trained model's folder has the tokenizer that it was trained with."""
    encoder = open_questions(bert_folder)
    encoder.save(tmp_path)
    rows = make_questions(2, 1)
    left, right = encoder.encode(rows, None), open_questions(tmp_path).encode(rows, None)
    assert (left.tokens == right.tokens).all()
    assert (left.places == right.places).all()


def test_unfit_settings_are_said(bert_folder, gpt2_folder):
    """A tokenizer without a first token of its own, and windows without room."""
    with pytest.raises(InputError, match=r"model\.base: found .*no token before a text"):
        open_encoder(gpt2_folder, Columns(), Training())
    with pytest.raises(InputError, match=r"training\.max_length: found 8"):
        open_encoder(bert_folder, Columns(), Training(max_length=8))
