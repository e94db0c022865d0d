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
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.passages import name_input, name_scored
from finetuning.progress import track
from finetuning.tokenization import ROWS_A_CALL, load_tokenizer, make_example, vary

if TYPE_CHECKING:
    import pandas
    import torch

    from finetuning.config import Columns, Training

__all__ = [
    "find_usable",
    "load_rows",
    "make_example",
    "open_encoder",
    "save_rows",
    "vary",
]

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


@dataclass(frozen=True)
class BlockEncoder:
    """A tokenizer, what it is to read, and how long a block is.

    begin: the token before every text, or None. end: the token after it, or None. overlap: tokens
    that the windows of a row have in common.
    """

    tokenizer: Any
    columns: Columns
    length: int
    overlap: int

    @property
    def end(self) -> int | None:
        """The token that ends a text."""
        return self.tokenizer.eos_token_id  # type: ignore[no-any-return]

    @property
    def begin(self) -> int | None:
        """The token that a text begins behind: its own kind of token, or the end of another."""
        own: int | None = self.tokenizer.bos_token_id
        return self.end if own is None else own

    def encode(
        self,
        rows: pandas.DataFrame,
        labels: np.ndarray,  # noqa: ARG002 - there are no classes
        title: str = "encoding",
        learning: bool = False,
    ) -> BlockRows:
        """See `problem.Encoder`; a missing cell is empty, an empty completion is not scored."""
        begun = self._tokenize(rows, name_input(self.columns), title)
        begin = [] if self.begin is None else [self.begin]
        end = [] if self.end is None else [self.end]
        if self.columns.completion is None:
            if learning:
                after = end if end != begin else []
                return pack([begin + ids + after for ids in begun], self.length)
            return self._place([begin + ids for ids in begun], [1] * len(begun))
        completed = self._tokenize(rows, self.columns.completion, title)
        prompts = [begin + ids for ids in begun]
        # A completion ends; a text may go on.
        whole = [
            prompt + (ids + end if ids else [])
            for prompt, ids in zip(prompts, completed, strict=True)
        ]
        return self._place(whole, [max(1, len(prompt)) for prompt in prompts])

    def _tokenize(self, rows: pandas.DataFrame, column: str, title: str) -> list[list[int]]:
        """Token ids of each cell, without special tokens; none where there is no such column."""
        cells = rows[column].fillna("") if column in rows else [""] * len(rows)
        texts = [str(cell) for cell in cells]
        ids: list[list[int]] = []
        starts = range(0, len(texts), ROWS_A_CALL)
        for start in track(starts, title, len(starts)):
            ids += self.tokenizer(
                texts[start : start + ROWS_A_CALL],
                add_special_tokens=False,
                return_attention_mask=False,
                verbose=False,
            )["input_ids"]
        return ids

    def _place(self, whole: list[list[int]], firsts: list[int]) -> BlockRows:
        """Every row by itself: its ids, and the place of the first that is to be predicted."""
        tokens: list[np.ndarray] = []
        learned: list[np.ndarray] = []
        places: list[int] = []
        for row, (ids, first) in enumerate(zip(whole, firsts, strict=True)):
            # A row without any token still needs one to stand on.
            own = np.array(ids or [self.end or 0], np.int32)
            for start, end, fresh in place_windows(len(own), first, self.length, self.overlap):
                tokens.append(own[start:end])
                learned.append(np.arange(start, end) >= fresh)
                places.append(row)
        return _join(tokens, learned, np.array(places, np.int64))

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(folder)


def open_encoder(
    folder: Path,
    columns: Columns,
    training: Training,
    data: Path | None = None,  # noqa: ARG001 - every problem's part is called alike
) -> BlockEncoder:
    """The encoder of a base model, or of a model that was trained from one.

    A block is as long as training.max_length, or as the tokenizer and the model can read. Windows
    of one row have training.stride tokens in common, but at most half of a block and at least one.
    """
    from transformers import AutoConfig

    tokenizer = load_tokenizer(folder)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    positions = getattr(config, "max_position_embeddings", None) or training.max_length
    length = min(training.max_length, tokenizer.model_max_length, positions)
    return BlockEncoder(tokenizer, columns, length, max(1, min(training.stride, length // 2)))


def find_usable(rows: pandas.DataFrame, columns: Columns) -> pandas.Series[bool]:
    """The rows that have a text, or a prompt and a completion, that is not blank."""
    scored = rows[name_scored(columns)]
    return rows[name_input(columns)].notna() & scored.fillna("").str.strip().ne("")


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
