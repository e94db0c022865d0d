"""Labelled texts, or pairs of texts, as token ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.base_configs import refuse_code
from finetuning.batching import EncodedRows, load_rows, save_rows
from finetuning.labels import balance
from finetuning.pieces import Pieces, digest_cells
from finetuning.progress import track

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Training

__all__ = [
    "encode",
    "find_usable",
    "load_rows",
    "load_tokenizer",
    "make_example",
    "open_encoder",
    "save_rows",
    "vary",
]

ROWS_A_CALL = 2000


@dataclass(frozen=True)
class TextEncoder:
    """A tokenizer, and what it is to read."""

    tokenizer: Any
    columns: Columns
    max_length: int

    def encode(
        self,
        rows: pandas.DataFrame,
        labels: np.ndarray,
        title: str = "encoding",
        learning: bool = False,  # noqa: ARG002 - learned from or answered, a text is encoded alike
    ) -> EncodedRows:
        """See `problem.Encoder`; a text that is missing is empty."""
        return self.join(self.cut(rows, title), labels)

    def digest(self, rows: pandas.DataFrame) -> list[bytes]:
        """See `pieces.Maker`."""
        named = (self.columns.text, self.columns.text_pair)
        return digest_cells(rows, [name for name in named if name is not None])

    def cut(self, rows: pandas.DataFrame, title: str = "encoding") -> Pieces:
        """Each row's tokens, and their types where it is a pair."""
        pair = self.columns.text_pair
        texts, pairs = (
            None if name is None else [str(cell) for cell in rows[name].fillna("")]
            for name in (self.columns.text, pair)
        )
        unknown = np.full(len(rows), -1, np.int64)
        found = encode(self.tokenizer, texts or [], pairs, unknown, self.max_length, title)
        values = {"tokens": found.tokens}
        if found.types is not None:
            values["types"] = found.types
        return Pieces(values, dict.fromkeys(values, found.offsets))

    def join(
        self,
        pieces: Pieces,
        labels: np.ndarray,
        learning: bool = False,  # noqa: ARG002 - likewise
    ) -> EncodedRows:
        """See `problem.Encoder`."""
        types = pieces.values.get("types") if len(pieces) else None
        tokens, offsets = pieces.values["tokens"], pieces.offsets["tokens"]
        return EncodedRows(tokens, offsets, labels, types)

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save_pretrained(folder)


def open_encoder(
    folder: Path,
    columns: Columns,
    training: Training,
    data: Path | None = None,  # noqa: ARG001 - every problem's part is called alike
) -> TextEncoder:
    """The encoder of a base model, or of a model that was trained from one."""
    return TextEncoder(load_tokenizer(folder), columns, training.max_length)


def find_usable(rows: pandas.DataFrame, columns: Columns) -> pandas.Series[bool]:
    """The rows that have a text."""
    return rows[columns.text].notna()


def make_example(
    rows: pandas.DataFrame,
    columns: Columns,  # noqa: ARG001 - likewise
    data: Path,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """The rows as the served model takes them: a text that is missing is empty."""
    return rows.fillna("").astype(str)


def vary(rows: EncodedRows, training: Training) -> EncodedRows:
    """The rows weighted as is asked for: nothing is changed at random in a text."""
    if training.class_weights == "none":
        return rows
    return replace(rows, weights=balance(rows.labels))


def load_tokenizer(folder: Path) -> Any:
    """The base model's tokenizer, with a padding token for whoever pads by it.

    Raises:
        InputError: transformers cannot open it by its own code.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except ValueError as error:
        raise refuse_code(folder, "tokenizer_config.json", error) from None
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def encode(
    tokenizer: Any,
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    labels: np.ndarray,
    max_length: int,
    title: str = "encoding",
) -> EncodedRows:
    """Tokenize texts (or pairs), each cut at max_length tokens.

    Args:
        tokenizer: As `load_tokenizer` gives it.
        texts: First texts.
        pairs: Second texts of the same rows, or None.
        labels: int64, (rows,).
        max_length: Longest row in tokens; of a pair the longer text is cut first.
        title: What the progress bar says.
    """
    limit = min(max_length, tokenizer.model_max_length)
    ids: list[list[int]] = []
    types: list[list[int]] = []
    starts = range(0, len(texts), ROWS_A_CALL)
    for start in track(starts, title, len(starts)):
        end = start + ROWS_A_CALL
        encoded = tokenizer(
            list(texts[start:end]),
            None if pairs is None else list(pairs[start:end]),
            truncation=True,
            max_length=limit,
            return_attention_mask=False,
        )
        # An empty text of a tokenizer without special tokens still needs one token to stand on.
        ids += [row or [tokenizer.eos_token_id or 0] for row in encoded["input_ids"]]
        if pairs is not None and "token_type_ids" in encoded:
            types += [row or [0] for row in encoded["token_type_ids"]]
    lengths = np.fromiter((len(row) for row in ids), np.int64, len(ids))
    return EncodedRows(
        tokens=_join(ids, np.int32),
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        labels=labels,
        types=_join(types, np.int8) if types else None,
    )


def _join(rows: list[list[int]], kind: type[np.generic]) -> np.ndarray:
    return np.fromiter((token for row in rows for token in row), dtype=kind)
