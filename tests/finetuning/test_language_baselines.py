"""The n-gram model against one counted by hand, and against a plain implementation."""

import math
from collections import Counter, defaultdict

import numpy as np
import pandas
import pytest

from finetuning.blocks import BlockRows, pack, place_windows
from finetuning.config import Columns
from finetuning.language_baselines import fit_grams, predict_simply, weigh_tokens


def separate_rows(texts, length=64, overlap=8):
    """Texts as rows by themselves, all but the first token to be predicted."""
    tokens, offsets, learned, places = [], [0], [], []
    for row, text in enumerate(texts):
        for start, end, fresh in place_windows(len(text), 1, length, overlap):
            tokens += text[start:end]
            offsets.append(len(tokens))
            learned += [place >= fresh for place in range(start, end)]
            places.append(row)
    return BlockRows(
        np.array(tokens, np.int32), np.array(offsets), np.array(learned), np.array(places)
    )


def test_bigrams_by_hand():
    """Behind token 1 stood 2 twice and 3 once; 4 tokens are possible.

    Unigrams: 2, 1, 2, 1, 3 were predicted: 5 in all, 3 kinds. p(2) = (2 + 3/4) / 8, and behind 1:
    (2 + 2 p(2)) / 5. Token 0 was never predicted: p(0) = (3/4) / 8, behind 1: 2 p(0) / 5.
    """
    grams = fit_grams(pack([[1, 2, 1, 2, 1, 3]], 6), 2, 4)
    got = np.exp(-weigh_tokens(grams, separate_rows([[1, 2], [1, 0]])))
    two, none = (2 + 3 / 4) / 8, (3 / 4) / 8
    expected = [[1 / 4, 1 / 4], [two, none], [(2 + 2 * two) / 5, 2 * none / 5]]
    np.testing.assert_allclose(got, expected)


def weigh_plainly(train, text, longest, size):
    """The same model with dictionaries, one token after another; the last order's losses."""
    followed = defaultdict(Counter)
    for place in range(1, len(train)):
        for length in range(longest):
            if place - length >= 0:
                followed[tuple(train[place - length : place])][train[place]] += 1
    losses = []
    for place in range(1, len(text)):
        likely = 1 / size
        for length in range(longest):
            if place - length < 0:
                continue
            after = followed.get(tuple(text[place - length : place]))
            if after:
                seen, kinds = sum(after.values()), len(after)
                likely = (after[text[place]] + kinds * likely) / (seen + kinds)
        losses.append(-math.log(likely))
    return losses


def test_longer_grams_are_those_of_a_plain_implementation():
    """Random tokens of a small vocabulary, up to four in a row, unseen ones among them."""
    generator = np.random.default_rng(0)
    train = generator.integers(0, 6, 400).tolist()
    text = generator.integers(0, 8, 60).tolist()
    grams = fit_grams(pack([train], 1000), 4, 8)
    got = weigh_tokens(grams, separate_rows([text]))[4]
    np.testing.assert_allclose(got, weigh_plainly(train, text, 4, 8))


def test_probabilities_add_up_to_one():
    """Over all tokens that can follow, whatever stood before."""
    grams = fit_grams(pack([np.random.default_rng(1).integers(0, 5, 100).tolist()], 25), 3, 7)
    for before in ([0, 1], [4, 4], [6, 6], [2]):
        texts = [[*before, token] for token in range(7)]
        rows = separate_rows(texts)
        losses = weigh_tokens(grams, rows).reshape(4, 7, -1)[:, :, -1]  # the last token's
        np.testing.assert_allclose(np.exp(-losses).sum(axis=1), 1)


def test_no_gram_reaches_across_a_block():
    """The first tokens of a block know nothing of the block before."""
    apart = fit_grams(pack([[1, 2, 3, 4]], 2), 2, 5)
    rows = separate_rows([[2, 3]])
    # 2 was followed by 3 only across the cut: behind it the model knows what a unigram knows.
    assert weigh_tokens(apart, rows)[2] == weigh_tokens(apart, rows)[1]


def test_baseline_is_chosen_on_validation():
    """Text that repeats every three tokens needs two before: a trigram model, near perfect."""
    text = [1, 2, 1, 3] * 50
    rows = {
        "train": pack([text], 50),
        "validation": separate_rows([text[:40]]),
        "test": separate_rows([text[2:30], text[:30], [1]]),
    }
    tables = {"test": pandas.DataFrame({"text": ["x", "y", "z"]})}
    (baseline,) = predict_simply(tables, rows, Columns(), ())
    assert baseline.name == "ngram"
    assert int(baseline.description.split("-gram")[0].split()[-1]) >= 3
    assert baseline.answers["tokens"].tolist() == [27, 29, 0]
    assert baseline.answers["loss"].max() < 0.3
    assert baseline.answers["loss"][2] == 0


def test_windows_of_a_row_count_once():
    """Tokens that two windows share are weighed in the first alone."""
    text = np.random.default_rng(2).integers(0, 5, 40).tolist()
    rows = {
        "train": pack([text], 40),
        "validation": separate_rows([text]),
        "test": separate_rows([text], length=10, overlap=5),
    }
    tables = {"test": pandas.DataFrame({"text": ["x"]})}
    (windowed,) = predict_simply(tables, rows, Columns(), ())
    (whole,) = predict_simply(tables, rows | {"test": separate_rows([text])}, Columns(), ())
    assert windowed.answers["tokens"][0] == whole.answers["tokens"][0] == 39
    assert windowed.answers["loss"][0] == pytest.approx(whole.answers["loss"][0])
