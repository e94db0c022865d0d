"""Encoded rows, and batches of rows of like length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

import numpy as np

from finetuning.labels import weigh_targets

if TYPE_CHECKING:
    import torch

# Rows are sorted by length within this many batches: enough to leave almost no padding, few
# enough that batches still differ from epoch to epoch (transformers' LengthGroupedSampler: 50).
BATCHES_A_BUCKET = 50
TOKENS_A_BATCH = 1024  # without gradients; measured best on CPUs: activations stay in the cache


@dataclass(frozen=True)
class EncodedRows:
    """Token ids of all rows end to end.

    tokens: int32, (all tokens,). offsets: int64, (rows + 1,). labels: int64, (rows,), -1 where
    unknown. types: int8, (all tokens,), the token types of pairs, or None. states: fp32, (all
    tokens, hidden), what leaves the frozen layers where that is kept; weights: fp32, (classes,),
    what a row of each class counts for; neither is ever written to disk.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray
    types: np.ndarray | None = None
    states: torch.Tensor | None = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, (rows,)."""
        return np.diff(self.offsets)

    def take(self, chosen: np.ndarray) -> EncodedRows:
        """Some of the rows, in the order in which they are named; without states."""
        lengths = self.lengths[chosen]
        places = [np.arange(self.offsets[row], self.offsets[row + 1]) for row in chosen]
        tokens = np.concatenate([np.empty(0, np.int64), *places])
        return EncodedRows(
            tokens=self.tokens[tokens],
            offsets=np.concatenate([[0], np.cumsum(lengths)]),
            labels=self.labels[chosen],
            types=None if self.types is None else self.types[tokens],
        )

    def collate(self, chosen: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """See `collate`."""
        return collate(self, chosen)

    def draw(
        self,
        chosen: Sequence[int] | np.ndarray,
        classes: int,
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """A training batch as `collate` gives it, and its targets, see `parts.Rows.draw`."""
        import torch

        targets = torch.from_numpy(self.labels[chosen])
        if self.weights is not None:
            targets = weigh_targets(targets, self.weights, classes)
        return collate(self, chosen), targets


class TokenRows(Protocol):
    """Rows of token ids end to end, as `EncodedRows` holds them, whatever else they hold."""

    @property
    def tokens(self) -> np.ndarray:
        """Token ids, int32, (all tokens,)."""

    @property
    def offsets(self) -> np.ndarray:
        """Where each row begins, and the last one ends, int64, (rows + 1,)."""

    @property
    def types(self) -> np.ndarray | None:
        """Token types, int8, (all tokens,), or None."""

    @property
    def states(self) -> torch.Tensor | None:
        """See `EncodedRows`."""

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each row, (rows,)."""

    def __len__(self) -> int: ...

    def take(self, chosen: np.ndarray) -> Any:
        """Some of the rows, without states."""

    def collate(self, chosen: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """The chosen rows padded, and their states where they are kept."""


def has_tokens(rows: Any) -> TypeGuard[TokenRows]:
    """Whether rows are a dataclass of token ids that can go on with kept states."""
    names = {field.name for field in fields(rows)} if is_dataclass(rows) else set()
    return {"tokens", "offsets", "types", "states"} <= names


def save_rows(rows: EncodedRows, path: Path) -> None:
    """Write encoded rows as one safetensors file."""
    from safetensors.numpy import save_file

    arrays = {"tokens": rows.tokens, "offsets": rows.offsets, "labels": rows.labels}
    if rows.types is not None:
        arrays["types"] = rows.types
    save_file(arrays, path)


def load_rows(path: Path) -> EncodedRows:
    """Read what `save_rows` wrote."""
    from safetensors.numpy import load_file

    return EncodedRows(**load_file(path))


def shuffle_by_length(
    lengths: np.ndarray, batch_size: int, seed: int, epoch: int
) -> list[np.ndarray]:
    """Batches of one training epoch: drawn at random, each of rows of like length.

    Rows are shuffled, cut into buckets, sorted by length within each, and the batches shuffled
    (the idea of transformers' `LengthGroupedSampler`). The draw depends on seed and epoch only.
    """
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    # Four buckets at least: sorted in one, the same rows would meet in every epoch.
    bucket = batch_size * max(1, min(BATCHES_A_BUCKET, len(lengths) // (4 * batch_size)))
    batches: list[np.ndarray] = []
    for start in range(0, len(order), bucket):
        rows = order[start : start + bucket]
        rows = rows[np.argsort(-lengths[rows], kind="stable")]
        batches += [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    return [batches[index] for index in generator.permutation(len(batches))]


def cut_batches(lengths: np.ndarray) -> list[np.ndarray]:
    """Batches from long to short rows, each of about the same number of tokens."""
    order = np.argsort(-lengths, kind="stable")
    batches, start = [], 0
    while start < len(order):
        size = max(1, TOKENS_A_BATCH // int(max(lengths[order[start]], 1)))
        batches.append(order[start : start + size])
        start += size
    return batches


def cut_micro_batches(
    chosen: np.ndarray, lengths: np.ndarray, tokens: int | None, rows: int | None = None
) -> list[np.ndarray]:
    """A batch in parts of at most so many tokens, padding counted, and rows; of one row at least.

    Args:
        chosen: Rows, (batch,).
        lengths: Tokens of every row, (rows,).
        tokens: Most tokens in a part; None: any number.
        rows: Most rows in a part; None: any number.
    """
    own = lengths[chosen]
    fits = tokens is None or len(chosen) * int(own.max(initial=0)) <= tokens
    if fits and (rows is None or len(chosen) <= rows):
        return [chosen]
    order = np.argsort(-own, kind="stable")
    parts, start = [], 0
    while start < len(order):
        size = len(chosen) if tokens is None else tokens // max(int(own[order[start]]), 1)
        size = max(1, size if rows is None else min(size, rows))
        parts.append(chosen[order[start : start + size]])
        start += size
    return parts


def collate(rows: TokenRows, chosen: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
    """Pad the chosen rows to their longest, on the right.

    Returns:
        input_ids and attention_mask, (batch, length) int64; token_type_ids likewise for pairs;
        states, (batch, length, hidden) fp32, where they are kept.
    """
    import torch

    starts, ends = rows.offsets[chosen], rows.offsets[np.asarray(chosen) + 1]
    lengths = ends - starts
    shape = (len(lengths), int(lengths.max()))
    mask = np.arange(shape[1])[None, :] < lengths[:, None]  # (batch, length)
    places = (starts[:, None] + np.arange(shape[1])[None, :])[mask]
    # Whatever id stands in the padding is masked everywhere, so no padding token is needed.
    batch = {"input_ids": np.zeros(shape, np.int64), "attention_mask": mask.astype(np.int64)}
    batch["input_ids"][mask] = rows.tokens[places]
    if rows.types is not None:
        batch["token_type_ids"] = np.zeros(shape, np.int64)
        batch["token_type_ids"][mask] = rows.types[places]
    tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
    if rows.states is not None:
        tensors["states"] = rows.states.new_zeros((*shape, rows.states.shape[1]))
        tensors["states"][torch.from_numpy(mask)] = rows.states[torch.from_numpy(places)]
    return tensors
