"""Texts, and prompts with completions, as blocks of tokens in which some are to be predicted.

To learn from, texts are joined, each behind the end-of-text token, and cut into blocks without a
gap, as transformers' run_clm does: no block is padded but the last. A prompt with its completion
stays by itself, and only the completion is learned. To be scored, every row stays by itself: each
of its tokens is predicted once, from what lies before it in its window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

PACKED = -1  # the table row of a block that holds tokens of several
UNKNOWN = -1  # the class of every block


@dataclass(frozen=True)
class BlockRows:
    """Blocks of token ids end to end.

    tokens: int32, (all tokens,). offsets: int64, (blocks + 1,). learned: bool, (all tokens,), what
    is to be predicted from the tokens before it in its block. places: int64, (blocks,), each
    block's row in the table that was encoded, or PACKED. types: None. states: as in
    `batching.EncodedRows`.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    learned: np.ndarray
    places: np.ndarray
    types: np.ndarray | None = None
    states: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.places)

    @property
    def labels(self) -> np.ndarray:
        """No block has a class: -1, (blocks,) int64."""
        return np.full(len(self), UNKNOWN, np.int64)

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each block, (blocks,)."""
        return np.diff(self.offsets)

    def take(self, chosen: np.ndarray) -> BlockRows:
        """Some of the blocks, in the order in which they are named; without states."""
        spans = [np.arange(self.offsets[block], self.offsets[block + 1]) for block in chosen]
        places = np.concatenate([np.empty(0, np.int64), *spans])
        return BlockRows(
            tokens=self.tokens[places],
            offsets=np.concatenate([[0], np.cumsum(self.lengths[chosen])]),
            learned=self.learned[places],
            places=self.places[chosen],
        )

    def collate(self, chosen: Sequence[int] | np.ndarray) -> dict[str, torch.Tensor]:
        """The chosen blocks padded on the right.

        Returns:
            input_ids and attention_mask, (batch, length) int64; wanted, (batch, length) bool, the
            tokens whose next one is to be predicted; states, (batch, length, hidden) fp32, where
            they are kept.
        """
        import torch

        chosen = np.asarray(chosen)
        starts, lengths = self.offsets[chosen], self.lengths[chosen]
        shape = (len(lengths), int(lengths.max()))
        mask = np.arange(shape[1])[None, :] < lengths[:, None]  # (batch, length)
        places = (starts[:, None] + np.arange(shape[1])[None, :])[mask]
        # Whatever id stands in the padding, nothing before it sees it and nothing wants it.
        ids, learned = np.zeros(shape, np.int64), np.zeros(shape, bool)
        ids[mask], learned[mask] = self.tokens[places], self.learned[places]
        wanted = np.zeros(shape, bool)
        wanted[:, :-1] = learned[:, 1:]
        arrays = {"input_ids": ids, "attention_mask": mask.astype(np.int64), "wanted": wanted}
        batch = {name: torch.from_numpy(array) for name, array in arrays.items()}
        if self.states is not None:
            batch["states"] = self.states.new_zeros((*shape, self.states.shape[1]))
            batch["states"][torch.from_numpy(mask)] = self.states[torch.from_numpy(places)]
        return batch

    def draw(
        self,
        chosen: Sequence[int] | np.ndarray,
        classes: int,  # noqa: ARG002 - there are none
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """A batch as `collate` gives it, and the token that follows each wanted one, (wanted,)."""
        batch = self.collate(chosen)
        following = batch["input_ids"].roll(-1, dims=1)  # what wraps around is never wanted
        return batch, following[batch["wanted"]]


def pack(texts: Sequence[Sequence[int]], length: int) -> BlockRows:
    """Texts joined and cut into blocks of `length` tokens; the last one is as long as what is left.

    As run_clm's `group_texts`, which leaves the last one out. Every token but a block's first is
    learned, and attention runs across the texts of a block.
    """
    total = sum(map(len, texts))
    stream = np.fromiter((token for text in texts for token in text), np.int32, total)
    if total % length == 1:  # nothing is to be predicted in a block of one token
        stream = stream[:-1]
    starts = range(0, len(stream), length)
    tokens = [stream[start : start + length] for start in starts]
    learned = [np.arange(len(block)) > 0 for block in tokens]
    return _join(tokens, learned, np.full(len(tokens), PACKED, np.int64))


def place_rows(
    rows: Sequence[Sequence[int]], firsts: Sequence[int], length: int, overlap: int
) -> BlockRows:
    """Every row by itself, in windows.

    Args:
        rows: Token ids of each, one at least.
        firsts: The place of the first one that is to be predicted.
        length: Longest window.
        overlap: See `place_windows`.
    """
    tokens: list[np.ndarray] = []
    learned: list[np.ndarray] = []
    places: list[int] = []
    for row, (ids, first) in enumerate(zip(rows, firsts, strict=True)):
        own = np.array(ids, np.int32)
        for start, end, fresh in place_windows(len(own), first, length, overlap):
            tokens.append(own[start:end])
            learned.append(np.arange(start, end) >= fresh)
            places.append(row)
    return _join(tokens, learned, np.array(places, np.int64))


def place_windows(total: int, first: int, length: int, overlap: int) -> list[tuple[int, int, int]]:
    """Windows over a row: begin, end, and the first token that is predicted in none before.

    Args:
        total: Tokens of the row.
        first: The first one to be predicted, at least 1; `total` where none is.
        length: Longest window.
        overlap: Tokens that one has in common with the next: what the next one's tokens follow.
    """
    if total - length < first:  # the last tokens show all that is to be predicted
        return [(max(0, total - length), total, first)]
    start, fresh = max(0, first - overlap), first
    windows = []
    while fresh < total:
        end = min(start + length, total)
        windows.append((start, end, fresh))
        start, fresh = end - overlap, end
    return windows


def _join(
    tokens: Sequence[np.ndarray], learned: Sequence[np.ndarray], places: np.ndarray
) -> BlockRows:
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    return BlockRows(
        tokens=np.concatenate([np.empty(0, np.int32), *tokens]),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        learned=np.concatenate([np.empty(0, bool), *learned]),
        places=places,
    )


def save_rows(rows: BlockRows, path: Path) -> None:
    """Write encoded rows as one safetensors file."""
    from safetensors.numpy import save_file

    names = ("tokens", "offsets", "learned", "places")
    save_file({name: getattr(rows, name) for name in names}, path)


def load_rows(path: Path) -> BlockRows:
    """Read what `save_rows` wrote."""
    from safetensors.numpy import load_file

    return BlockRows(**load_file(path))
