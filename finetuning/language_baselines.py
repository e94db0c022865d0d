"""What the same tokens give without any base model: an interpolated n-gram model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from finetuning.parts import Baseline

if TYPE_CHECKING:
    import pandas

    from finetuning.blocks import BlockRows
    from finetuning.config import Columns

ORDERS = (1, 2, 3, 4, 5)  # tokens of the longest n-gram; the validation split chooses
NEVER = -1  # the number of an n-gram that train does not hold


@dataclass(frozen=True)
class _Order:
    """The n-grams of one length. keys: sorted, each (history's number) * size + token."""

    keys: np.ndarray
    counts: np.ndarray  # how often each was to be predicted
    seen: np.ndarray  # of each history: tokens that followed
    kinds: np.ndarray  # of each history: different ones among them


@dataclass(frozen=True)
class Grams:
    """An n-gram model. size: one more than the largest token."""

    orders: tuple[_Order, ...]
    size: int


def predict_simply(
    tables: Mapping[str, pandas.DataFrame],
    rows: Mapping[str, BlockRows],
    columns: Columns,  # noqa: ARG001 - every problem's part is called alike
    labels: Sequence[str],  # noqa: ARG001 - likewise
) -> tuple[Baseline, ...]:
    """The n-gram model of the order that is best on validation, see `fit_grams`."""
    import pandas

    size = 1 + max(int(one.tokens.max(initial=0)) for one in rows.values())
    grams = fit_grams(rows["train"], max(ORDERS), size)
    checked = weigh_tokens(grams, rows["validation"]).sum(axis=1)
    order = int(checked[1:].argmin()) + 1
    test = rows["test"]
    count = len(tables["test"])
    owners = np.repeat(test.places, test.lengths)[test.learned]
    nats = np.bincount(owners, weigh_tokens(grams, test)[order], count)
    tokens = np.bincount(owners, minlength=count)
    answers = pandas.DataFrame({"loss": nats / np.maximum(tokens, 1), "tokens": tokens})
    described = f"an interpolated {order}-gram model of the same tokens"
    return (Baseline("ngram", described, answers),)


def fit_grams(rows: BlockRows, longest: int, size: int) -> Grams:
    """Count the n-grams that end in a token to be predicted, and what stands before such a token.

    Args:
        rows: The training blocks; no n-gram reaches across one.
        longest: Tokens of the longest n-gram.
        size: One more than the largest token.
    """
    orders: list[_Order] = []
    histories = np.zeros(len(rows.tokens), np.int64)  # the empty one
    for length in range(1, longest + 1):
        keys = _join(histories, rows.tokens, size)
        known = np.unique(keys[keys != NEVER])
        ends = rows.learned & (keys != NEVER)
        counts = np.bincount(np.searchsorted(known, keys[ends]), minlength=len(known))
        before = known // size
        number = int(before.max(initial=0)) + 1
        seen = np.bincount(before, counts, number)
        kinds = np.bincount(before, counts > 0, number)
        orders.append(_Order(known, counts, seen, kinds))
        if length < longest:
            histories = _follow(_find(known, keys), rows.offsets)
    return Grams(tuple(orders), size)


def weigh_tokens(grams: Grams, rows: BlockRows) -> np.ndarray:
    """Loss of each token that is to be predicted, by n-grams up to each length.

    With c(h w) how often w followed h, c(h) how often anything did and t(h) how many different
    tokens: p(w | h) = (c(h w) + t(h) p(w | shorter h)) / (c(h) + t(h)) (Witten and Bell 1991, as
    Chen and Goodman 1999, section 2.4, interpolate it), down to all tokens alike.

    Returns:
        Nats, (orders + 1, predicted tokens); the first row is that of all tokens alike.
    """
    likely = np.full(int(rows.learned.sum()), 1 / grams.size)
    losses = [-np.log(likely)]
    histories = np.zeros(len(rows.tokens), np.int64)
    for order in grams.orders:
        found = _find(order.keys, _join(histories, rows.tokens, grams.size))
        own, before = found[rows.learned], histories[rows.learned]
        there = before < len(order.seen)
        seen, kinds = (
            np.where(there & (before != NEVER), part[np.where(there, before, 0)], 0.0)
            for part in (order.seen, order.kinds)
        )
        counts = np.where(own == NEVER, 0, order.counts[own])
        total = seen + kinds
        mixed = (counts + kinds * likely) / np.maximum(total, 1)
        likely = np.where(total > 0, mixed, likely)
        losses.append(-np.log(likely))
        histories = _follow(found, rows.offsets)
    return np.stack(losses)


def _join(histories: np.ndarray, tokens: np.ndarray, size: int) -> np.ndarray:
    """The key of each token behind its history: (tokens,) int64."""
    return np.where(histories == NEVER, NEVER, histories * size + tokens)


def _find(keys: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The number of each wanted key among the sorted ones, or NEVER."""
    if not len(keys):
        return np.full(len(wanted), NEVER, np.int64)
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where((keys[places] == wanted) & (wanted != NEVER), places, NEVER)


def _follow(numbers: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Each token's history: the n-gram that ends one token before it, within its block."""
    histories = np.concatenate([[NEVER], numbers[:-1]]) if len(numbers) else numbers
    starts = offsets[:-1]
    histories[starts[starts < len(histories)]] = NEVER
    return histories
