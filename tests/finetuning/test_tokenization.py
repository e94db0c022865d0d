"""Encoding against the tokenizer called row by row, and the order of labels."""

import itertools

import numpy as np
import pandas
import pytest

from finetuning import tokenization
from finetuning.config import Columns
from finetuning.labels import learn_labels
from finetuning.tokenization import encode, load_tokenizer

TEXTS = ["A good film!", "bad", "the plot was not very good, and the cast was awful", "", "snow 好"]
PAIRS = ["one", "two three four five six seven eight", "", "red", "this is a story"]


@pytest.fixture(scope="module")
def bert_tokenizer(bert_folder):
    """The tiny BERT's tokenizer."""
    return load_tokenizer(bert_folder)


@pytest.fixture(scope="module")
def gpt2_tokenizer(gpt2_folder):
    """The tiny GPT-2's tokenizer."""
    return load_tokenizer(gpt2_folder)


def encode_rows(tokenizer, texts, pairs=None, max_length=64):
    """Encoded rows with their numbers as labels."""
    return encode(tokenizer, texts, pairs, np.arange(len(texts)), max_length)


def split(values, rows):
    """One list a row from values end to end."""
    return [list(values[a:b]) for a, b in itertools.pairwise(rows.offsets)]


@pytest.mark.parametrize("size", [1, 2, 2000])
@pytest.mark.parametrize("max_length", [4, 6, 64])
@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["single", "pair"])
def test_encode_is_the_tokenizer_row_by_row(bert_tokenizer, pairs, max_length, size, monkeypatch):
    """Tokens and types are the tokenizer's own, cut at max_length, whatever the calls' size."""
    monkeypatch.setattr(tokenization, "ROWS_A_CALL", size)
    rows = encode_rows(bert_tokenizer, TEXTS, pairs, max_length)
    expected = [
        # In lists: a second text that is empty would be taken for none at all otherwise.
        bert_tokenizer([text], pairs and [pairs[i]], truncation=True, max_length=max_length)
        for i, text in enumerate(TEXTS)
    ]
    assert split(rows.tokens, rows) == [row["input_ids"][0] for row in expected]
    if pairs is None:
        assert rows.types is None
    else:
        assert split(rows.types, rows) == [row["token_type_ids"][0] for row in expected]
        assert 1 in rows.types
    np.testing.assert_array_equal(rows.labels, np.arange(len(TEXTS)))
    assert (rows.tokens.dtype, rows.offsets.dtype) == (np.int32, np.int64)
    assert rows.lengths.max() <= max_length


def test_truncation_keeps_the_frame(bert_tokenizer):
    """A cut text keeps its first words between [CLS] and [SEP]."""
    rows = encode_rows(bert_tokenizer, ["one two three four five six"], max_length=5)
    tokens = bert_tokenizer.convert_ids_to_tokens(rows.tokens)
    assert tokens == ["[CLS]", "one", "two", "three", "[SEP]"]


def test_truncation_cuts_the_longer_text_of_a_pair(bert_tokenizer):
    """Of a pair the longer text is cut first, and the shorter one stays whole."""
    rows = encode_rows(bert_tokenizer, ["one two three four five six"], ["red blue"], 8)
    tokens = bert_tokenizer.convert_ids_to_tokens(rows.tokens)
    assert tokens == ["[CLS]", "one", "two", "three", "[SEP]", "red", "blue", "[SEP]"]
    assert rows.types.tolist() == [0, 0, 0, 0, 0, 1, 1, 1]


def test_the_models_limit_holds(bert_tokenizer):
    """A max_length above what the base model has positions for is cut down to that."""
    rows = encode_rows(bert_tokenizer, ["one " * 500], max_length=512)
    assert rows.lengths.tolist() == [bert_tokenizer.model_max_length]


def test_empty_text(bert_tokenizer, gpt2_tokenizer):
    """An empty text is its special tokens; without any it stands on one end-of-text token."""
    rows = encode_rows(bert_tokenizer, ["", "bad"])
    assert bert_tokenizer.convert_ids_to_tokens(rows.tokens[:2]) == ["[CLS]", "[SEP]"]
    assert rows.lengths.tolist() == [2, 3]
    rows = encode_rows(gpt2_tokenizer, ["", "bad", "   "])
    assert rows.lengths.tolist() == [1, 1, 1]
    assert rows.tokens[[0, 2]].tolist() == [gpt2_tokenizer.eos_token_id] * 2


def test_empty_pair_with_token_types():
    """Where an empty pair has no token at all, token and token type are both put in."""

    class Tokenizer:
        """Gives nothing for nothing, and token types for pairs."""

        model_max_length = 10
        eos_token_id = 3

        def __call__(self, texts, pairs, **_):
            ids = [[5] * len(a) + [6] * len(b) for a, b in zip(texts, pairs, strict=True)]
            types = [[0] * len(a) + [1] * len(b) for a, b in zip(texts, pairs, strict=True)]
            return {"input_ids": ids, "token_type_ids": types}

    rows = encode_rows(Tokenizer(), ["", "ab"], ["", "c"])
    assert rows.tokens.tolist() == [3, 5, 5, 6]
    assert rows.types.tolist() == [0, 0, 0, 1]


def test_padding_token(bert_tokenizer, gpt2_tokenizer):
    """A tokenizer without a padding token pads by its end-of-text token; others keep theirs."""
    assert gpt2_tokenizer.pad_token == "<|endoftext|>"
    assert bert_tokenizer.pad_token == "[PAD]"


def frame(labels, splits=None):
    """A table of labels, in the training split unless said otherwise."""
    return pandas.DataFrame(
        {"label": pandas.Series(labels, dtype=object), "split": splits or ["train"] * len(labels)}
    )


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["10", "9", "2", "10", "1"], ("1", "2", "9", "10")),
        (["-1", "0.5", "1e1", "0"], ("-1", "0", "0.5", "1e1")),
        (["10", "9", "b"], ("10", "9", "b")),
        (["pos", "neg", "Neutral"], ("Neutral", "neg", "pos")),
        (["1", "1.0", "0"], ("0", "1", "1.0")),
        (["b", None, "a"], ("a", "b")),
    ],
    ids=["whole", "numbers", "mixed", "text", "equal numbers", "missing"],
)
def test_label_order(labels, expected):
    """Numbers are ordered as numbers, text as text, in any order of the rows."""
    columns = Columns.model_validate({})
    assert learn_labels(frame(labels), columns) == expected
    assert learn_labels(frame(labels[::-1]), columns) == expected


def test_labels_of_the_training_rows_only():
    """A label that only the other splits have is not learned, and the column can be named."""
    rows = frame(["b", "a", "c"], ["train", "train", "test"]).rename(columns={"label": "kind"})
    assert learn_labels(rows, Columns.model_validate({"label": "kind"})) == ("a", "b")


def test_label_that_reads_as_not_a_number():
    """Among numbers, the text 'nan' makes all of them text: a nan has no place in an order."""
    for labels in itertools.permutations(["10", "nan", "9"]):
        assert learn_labels(frame(list(labels)), Columns.model_validate({})) == ("10", "9", "nan")
