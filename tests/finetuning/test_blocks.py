"""Blocks worked out by hand: packed texts, windows, completions, and batches of them."""

import numpy as np
import pandas
import pytest
import torch

from finetuning.block_encoding import find_usable, open_encoder
from finetuning.blocks import PACKED, BlockRows, load_rows, pack, place_windows, save_rows
from finetuning.config import Columns, Training

PROMPTED = Columns.model_validate({"prompt": "prompt", "completion": "completion"})


def open_tiny(folder, columns=None, **fields):
    """The encoder of a tiny base model."""
    settings = Training.model_validate({"max_length": 32, **fields})
    return open_encoder(folder, columns or Columns(), settings)


def encode(encoder, learning=False, **columns):
    """Columns of cells, encoded."""
    table = pandas.DataFrame(columns)
    return encoder.encode(table, np.full(len(table), -1), learning=learning)


def spell(encoder, rows):
    """Each block's tokens as words, those to be predicted in capitals."""
    words = np.array(encoder.tokenizer.convert_ids_to_tokens(rows.tokens.tolist()))
    shown = [
        word.upper() if learned else word for word, learned in zip(words, rows.learned, strict=True)
    ]
    return [
        " ".join(shown[start:end])
        for start, end in zip(rows.offsets, rows.offsets[1:], strict=False)
    ]


def test_pack():
    """Joined and cut without a gap; a block's first token is not predicted, the last is short."""
    rows = pack([[1, 2, 3], [4, 5], [6, 7]], 3)
    assert rows.tokens.tolist() == [1, 2, 3, 4, 5, 6]
    assert rows.offsets.tolist() == [0, 3, 6]
    assert rows.learned.tolist() == [False, True, True] * 2
    assert rows.places.tolist() == [PACKED] * 2
    assert pack([[1, 2, 3], [4, 5]], 3).lengths.tolist() == [3, 2]
    assert len(pack([], 3)) == 0


def test_texts_are_joined_behind_the_end_of_text(gpt2_folder, llama_folder):
    """GPT-2 parts texts by one token that is both begin and end, Llama by two."""
    encoder = open_tiny(gpt2_folder)
    rows = encode(encoder, learning=True, text=["good film", "bad"])
    assert spell(encoder, rows) == ["<|endoftext|> GOOD FILM <|ENDOFTEXT|> BAD"]
    encoder = open_tiny(llama_folder, max_length=4)
    rows = encode(encoder, learning=True, text=["good film", "bad"])
    assert spell(encoder, rows) == ["<s> GOOD FILM </S>", "<s> BAD </S>"]


def test_scored_texts_stay_by_themselves(llama_folder):
    """Every token of a text is predicted; that it ends is not, since it may go on."""
    encoder = open_tiny(llama_folder)
    rows = encode(encoder, text=["good film", None, "bad"])
    assert spell(encoder, rows) == ["<s> GOOD FILM", "<s>", "<s> BAD"]
    assert rows.places.tolist() == [0, 1, 2]


def test_long_text_is_scored_in_windows(llama_folder):
    """Windows overlap by the stride; each token is predicted once."""
    encoder = open_tiny(llama_folder, max_length=4, stride=2)
    rows = encode(encoder, text=["a good film and a plot"])
    assert spell(encoder, rows) == [
        "<s> A GOOD FILM",
        "good film AND A",
        "and a PLOT",
    ]
    assert rows.places.tolist() == [0, 0, 0]


@pytest.mark.parametrize("learning", [True, False])
def test_only_the_completion_is_learned(llama_folder, learning):
    """Its end too; rows are not packed; without a completion nothing is."""
    encoder = open_tiny(llama_folder, PROMPTED)
    rows = encode(
        encoder,
        learning,
        prompt=["is it good ?", "the film", ""],
        completion=["very good", "", "a"],
    )
    assert spell(encoder, rows) == [
        "<s> is it good ? VERY GOOD </S>",
        "<s> the film",
        "<s> A </S>",
    ]


def test_long_prompt_loses_its_beginning(llama_folder):
    """The completion is whole as long as it fits, and what is nearest to it stays."""
    encoder = open_tiny(llama_folder, PROMPTED, max_length=5)
    rows = encode(encoder, prompt=["a b c one two three"], completion=["good film"])
    assert spell(encoder, rows) == ["two three GOOD FILM </S>"]


@pytest.mark.parametrize("total", range(1, 40))
@pytest.mark.parametrize(("length", "overlap"), [(4, 1), (4, 2), (8, 3), (16, 8)])
def test_windows_predict_each_token_once(total, length, overlap):
    """From the first on, none twice, each with something before it."""
    for first in range(1, total + 1):
        windows = place_windows(total, first, length, overlap)
        assert all(0 <= start < end <= total and end - start <= length for start, end, _ in windows)
        predicted = [place for start, end, fresh in windows for place in range(fresh, end)]
        assert predicted == list(range(first, total))
        assert all(start < fresh for start, _, fresh in windows)
        later = windows[1:]
        assert all(fresh - start == overlap for start, _, fresh in later)


def test_block_is_no_longer_than_the_model_reads(gpt2_folder):
    """The tiny model has 64 positions, whatever training.max_length says."""
    encoder = open_tiny(gpt2_folder, max_length=1000)
    assert (encoder.length, encoder.overlap) == (64, 32)
    assert open_tiny(gpt2_folder, max_length=8, stride=0).overlap == 1


def test_collated_batch():
    """Padded on the right; wanted are the tokens before those to be predicted."""
    rows = pack([[5, 6, 7, 8, 9]], 3)
    batch, targets = rows.draw([1, 0], 0)
    assert batch["input_ids"].tolist() == [[8, 9, 0], [5, 6, 7]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 1, 1]]
    assert batch["wanted"].tolist() == [[True, False, False], [True, True, False]]
    assert targets.tolist() == [9, 6, 7]


def test_states_come_with_their_tokens():
    """Kept states stand where their tokens stand, zeros in the padding."""
    rows = pack([[5, 6, 7, 8, 9]], 3)
    states = torch.arange(10.0).view(5, 2)
    kept = BlockRows(rows.tokens, rows.offsets, rows.learned, rows.places, states=states)
    got = kept.collate([1, 0])["states"]
    assert got.tolist() == [[[6, 7], [8, 9], [0, 0]], [[0, 1], [2, 3], [4, 5]]]


def test_taken_rows():
    """In the order in which they are named."""
    rows = pack([[5, 6, 7, 8, 9]], 3).take(np.array([1, 0]))
    assert rows.tokens.tolist() == [8, 9, 5, 6, 7]
    assert rows.learned.tolist() == [False, True, False, True, True]
    assert rows.offsets.tolist() == [0, 2, 5]
    assert rows.labels.tolist() == [-1, -1]


def test_rows_are_kept(tmp_path, llama_folder):
    """What is written is read again, types and all."""
    rows = encode(open_tiny(llama_folder, max_length=4), text=["a good film and a plot"])
    save_rows(rows, tmp_path / "rows.safetensors")
    again = load_rows(tmp_path / "rows.safetensors")
    for name in ("tokens", "offsets", "learned", "places"):
        kept, read = getattr(rows, name), getattr(again, name)
        assert kept.dtype == read.dtype
        assert kept.tolist() == read.tolist()


def test_saved_encoder_encodes_alike(tmp_path, llama_folder):
    """A trained model's folder gives the same blocks as its base model's."""
    encoder = open_tiny(llama_folder)
    encoder.save(tmp_path)
    (tmp_path / "config.json").write_bytes((llama_folder / "config.json").read_bytes())
    texts = ["a good film", "is it ?"]
    again = encode(open_tiny(tmp_path), text=texts)
    assert again.tokens.tolist() == encode(encoder, text=texts).tokens.tolist()


def test_usable_rows():
    """A text that is not blank; of a pair, a prompt and a completion that is not blank."""
    texts = pandas.DataFrame({"text": ["a", " \n", None]})
    assert find_usable(texts, Columns()).tolist() == [True, False, False]
    pairs = pandas.DataFrame({"prompt": ["a", "", None, "b"], "completion": ["c", "d", "e", " "]})
    assert find_usable(pairs, PROMPTED).tolist() == [True, True, False, False]
