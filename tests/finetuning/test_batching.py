"""Batches against transformers' padding, and what a training epoch promises of them."""

import numpy as np
import pytest
import torch

from finetuning.batching import (
    BATCHES_A_BUCKET,
    TOKENS_A_BATCH,
    EncodedRows,
    collate,
    cut_batches,
    cut_micro_batches,
    load_rows,
    save_rows,
    shuffle_by_length,
)
from finetuning.tokenization import encode, load_tokenizer

TEXTS = ["a good film", "bad", "the plot was not very good , and the cast was awful !", "i", ""]
PAIRS = ["one", "two three four five six", "", "the music is superb .", "red"]


def rows_of(lengths):
    """Encoded rows of given lengths, with tokens that tell the rows apart."""
    tokens = [1000 * row + place for row, size in enumerate(lengths) for place in range(size)]
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EncodedRows(np.array(tokens, np.int32), offsets, np.zeros(len(lengths), np.int64))


@pytest.mark.parametrize("pairs", [None, PAIRS], ids=["single", "pair"])
@pytest.mark.parametrize("chosen", [[0, 1, 2, 3, 4], [3, 0], [1], [4, 4, 2]])
def test_collate_is_transformers_padding(bert_folder, pairs, chosen):
    """A batch is what the tokenizer's own `pad` makes of the same rows."""
    tokenizer = load_tokenizer(bert_folder)
    rows = encode(tokenizer, TEXTS, pairs, np.zeros(len(TEXTS), np.int64), 32)
    own = tokenizer([TEXTS[i] for i in chosen], pairs and [pairs[i] for i in chosen])
    expected = dict(tokenizer.pad(own, return_tensors="pt"))
    if pairs is None:
        expected.pop("token_type_ids")  # all zeros, which is what models assume without them
    for got in (collate(rows, chosen), collate(rows, np.array(chosen))):
        assert got.keys() == expected.keys()
        for name, tensor in got.items():
            assert tensor.dtype == torch.int64
            # [PAD] is token 0 here, so that the padding is the same too.
            torch.testing.assert_close(tensor, expected[name], rtol=0, atol=0, msg=name)


def test_collate_keeps_the_given_order():
    """Rows stand in the order asked for, padded on the right to the longest of them."""
    batch = collate(rows_of([2, 5, 1, 3]), [3, 0, 2])
    assert batch["input_ids"].tolist() == [[3000, 3001, 3002], [0, 1, 0], [2000, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0], [1, 0, 0]]


def test_lengths():
    """Lengths and the number of rows are read off the offsets."""
    rows = rows_of([2, 5, 1])
    assert rows.lengths.tolist() == [2, 5, 1]
    assert len(rows) == 3


@pytest.mark.parametrize("types", [None, np.array([0, 0, 1, 0, 0, 0, 1, 1], np.int8)])
def test_rows_survive_the_file(tmp_path, types):
    """Rows are read back with the same values and kinds of number."""
    rows = rows_of([2, 5, 1])
    rows = EncodedRows(rows.tokens, rows.offsets, np.array([1, -1, 0]), types)
    save_rows(rows, tmp_path / "rows.safetensors")
    read = load_rows(tmp_path / "rows.safetensors")
    for name in ("tokens", "offsets", "labels", "types"):
        before, after = getattr(rows, name), getattr(read, name)
        if before is None:
            assert after is None
            continue
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize(
    ("rows", "batch_size"), [(1, 32), (31, 32), (32, 32), (3333, 16), (500, 1)]
)
def test_shuffle_covers_every_row_once(rows, batch_size):
    """Every row is in exactly one batch, and only the last batch of a bucket is smaller."""
    lengths = np.random.default_rng(0).integers(1, 200, rows)
    batches = shuffle_by_length(lengths, batch_size, seed=4, epoch=1)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(rows))
    assert len(batches) == -(-rows // batch_size)
    sizes = sorted(len(batch) for batch in batches)
    assert sizes[1:] == [batch_size] * (len(batches) - 1)


def test_shuffle_depends_on_seed_and_epoch_only():
    """The same seed and epoch draw the same batches; another seed or epoch draws others."""
    lengths = np.random.default_rng(0).integers(1, 200, 400)

    def draw(seed, epoch):
        np.random.seed(seed * 31 + epoch)
        torch.manual_seed(epoch)
        return [batch.tolist() for batch in shuffle_by_length(lengths, 16, seed, epoch)]

    first = draw(1, 1)
    np.random.seed(99)
    assert [batch.tolist() for batch in shuffle_by_length(lengths, 16, 1, 1)] == first
    others = [draw(1, 2), draw(2, 1), draw(0, 1)]
    for other in others:
        assert other != first
        together = {frozenset(batch) for batch in first} & {frozenset(batch) for batch in other}
        assert not together  # other rows meet, not only another order of the same batches


def test_shuffle_leaves_little_padding():
    """Of lengths spread evenly from 1 to 200, under 3 % of the places are padding."""
    lengths = np.random.default_rng(0).integers(1, 201, 4000)
    batches = shuffle_by_length(lengths, 16, seed=0, epoch=1)
    places = sum(int(lengths[batch].max()) * len(batch) for batch in batches)
    assert places < 1.03 * lengths.sum()
    order = np.arange(4000).reshape(-1, 16)
    assert sum(int(lengths[batch].max()) * 16 for batch in order) > 1.8 * lengths.sum()


def test_shuffle_does_not_go_by_length():
    """Long batches are spread over the epoch instead of all coming first."""
    lengths = np.random.default_rng(0).integers(1, 201, 16 * BATCHES_A_BUCKET)
    means = [lengths[batch].mean() for batch in shuffle_by_length(lengths, 16, seed=0, epoch=1)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


def test_cut_batches():
    """Every row is in one batch, long ones first, and no batch is far above the tokens allowed."""
    lengths = np.random.default_rng(0).integers(1, 300, 500)
    lengths[17] = 5000
    batches = cut_batches(lengths)
    np.testing.assert_array_equal(np.sort(np.concatenate(batches)), np.arange(500))
    assert batches[0].tolist() == [17]
    assert (np.diff(lengths[np.concatenate(batches)]) <= 0).all()
    tokens = [lengths[batch].max() * len(batch) for batch in batches[1:]]
    assert max(tokens) <= TOKENS_A_BATCH


def test_take_keeps_rows_whole():
    """Chosen rows come with their own tokens, types and labels, in the order asked for."""
    rows = EncodedRows(
        tokens=np.array([5, 6, 7, 8, 9, 10], np.int32),
        offsets=np.array([0, 2, 3, 6]),
        labels=np.array([0, 1, 2]),
        types=np.array([0, 1, 0, 0, 1, 1], np.int8),
    )
    few = rows.take(np.array([2, 0]))
    assert few.tokens.tolist() == [8, 9, 10, 5, 6]
    assert few.offsets.tolist() == [0, 3, 5]
    assert few.labels.tolist() == [2, 0]
    assert few.types.tolist() == [0, 1, 1, 0, 1]
    assert len(rows.take(np.array([], np.int64))) == 0


def test_collate_pads_states_with_zeros():
    """Each token's kept state stands in its place, zeros where there is none."""
    rows = EncodedRows(
        tokens=np.array([5, 6, 7], np.int32),
        offsets=np.array([0, 1, 3]),
        labels=np.array([0, 1]),
        states=torch.tensor([[1.0, 1.5], [2.0, 2.5], [3.0, 3.5]]),
    )
    states = collate(rows, [1, 0])["states"]
    assert states.tolist() == [[[2.0, 2.5], [3.0, 3.5]], [[1.0, 1.5], [0.0, 0.0]]]


def test_micro_batches_hold_the_budget():
    """Each row once, each part at most so many padded tokens, or one row that is longer."""
    lengths = np.array([5, 90, 10, 40, 7, 200])
    chosen = np.array([0, 1, 2, 3, 5])
    parts = cut_micro_batches(chosen, lengths, 100)
    assert sorted(np.concatenate(parts)) == sorted(chosen)
    assert [list(part) for part in parts] == [[5], [1], [3, 2], [0]]
    assert all(len(part) == 1 or len(part) * lengths[part].max() <= 100 for part in parts)


def test_a_batch_within_the_budget_stays_as_it_is():
    """Its order too: the same bits as without a budget."""
    chosen = np.array([2, 0, 1])
    (part,) = cut_micro_batches(chosen, np.array([5, 9, 10]), 30)
    assert part is chosen
