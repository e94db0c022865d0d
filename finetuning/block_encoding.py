"""From a table's texts, or its prompts and completions, to blocks of tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.base_configs import open_config
from finetuning.blocks import BlockRows, load_rows, pack, place_rows, save_rows
from finetuning.passages import name_input, name_scored
from finetuning.pieces import Pieces, digest_cells
from finetuning.progress import track
from finetuning.tokenization import ROWS_A_CALL, load_tokenizer, make_example, vary

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Training

__all__ = ["find_usable", "load_rows", "make_example", "open_encoder", "save_rows", "vary"]

BEGUN, COMPLETED = "begun", "completed"  # what a row's pieces are called


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
        labels: np.ndarray,
        title: str = "encoding",
        learning: bool = False,
    ) -> BlockRows:
        """See `problem.Encoder`; a missing cell is empty, an empty completion is not scored."""
        return self.join(self.cut(rows, title), labels, learning)

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """See `pieces.Maker`."""
        return digest_cells(rows, self._read)

    @property
    def _read(self) -> list[str]:
        named = (name_input(self.columns), self.columns.completion)
        return [name for name in named if name is not None]

    def cut(self, rows: pandas.DataFrame, title: str = "encoding") -> Pieces:
        """Each row's token ids, of its text, or of its prompt and of its completion."""
        found = [self._tokenize(rows, name, title) for name in self._read]
        named = dict(zip((BEGUN, COMPLETED), found, strict=False))
        lengths = {name: [len(row) for row in ids] for name, ids in named.items()}
        return Pieces(
            {
                name: np.fromiter((token for row in ids for token in row), np.int32)
                for name, ids in named.items()
            },
            {
                name: np.concatenate([[0], np.cumsum(own, dtype=np.int64)])
                for name, own in lengths.items()
            },
        )

    def join(
        self,
        pieces: Pieces,
        labels: np.ndarray,  # noqa: ARG002 - there are no classes
        learning: bool = False,
    ) -> BlockRows:
        """See `problem.Encoder`."""
        begun = pieces.split(BEGUN)
        begin = [] if self.begin is None else [self.begin]
        end = [] if self.end is None else [self.end]
        if self.columns.completion is None:
            if learning:
                after = end if end != begin else []
                return pack([begin + ids + after for ids in begun], self.length)
            return self._place([begin + ids for ids in begun], [1] * len(begun))
        prompts = [begin + ids for ids in begun]
        # A completion ends; a text may go on.
        whole = [
            prompt + (ids + end if ids else [])
            for prompt, ids in zip(prompts, pieces.split(COMPLETED), strict=True)
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
        # A row without any token still needs one to stand on.
        filled = [ids or [self.end or 0] for ids in whole]
        return place_rows(filled, firsts, self.length, self.overlap)

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
    tokenizer = load_tokenizer(folder)
    config = open_config(folder)
    positions = getattr(config, "max_position_embeddings", None) or training.max_length
    length = min(training.max_length, tokenizer.model_max_length, positions)
    return BlockEncoder(tokenizer, columns, length, max(1, min(training.stride, length // 2)))


def find_usable(rows: pandas.DataFrame, columns: Columns) -> pandas.Series[bool]:
    """The rows that have a text, or a prompt and a completion, that is not blank."""
    scored = rows[name_scored(columns)]
    return rows[name_input(columns)].notna() & scored.fillna("").str.strip().ne("")
