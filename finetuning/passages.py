"""Texts to continue, and prompts with completions, as a table; when two of them are the same.

A plain text file becomes rows of passages: what is split, checked, scored and resampled is a row,
and one row of a whole book would leave nothing to split.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from finetuning.errors import wrong
from finetuning.splits import digest_text
from finetuning.tables import decode, read_cells

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

    from finetuning.config import Columns
    from finetuning.known_contents import Memory

TEXT_FILE = ".txt"
PASSAGE = 2000  # characters that a passage of a text file has at most
# A text is cut where it stops most: after blank lines, else a line, else a word, else anywhere.
# Each pattern gives pieces that make the text again when they are joined.
_PARAGRAPH = re.compile(r"(?s).+?(?:\n[ \t]*\n\s*|\Z)")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")
_WORD = re.compile(r"\s*\S+|\s+")
_STOPS = (_PARAGRAPH, _LINE, _WORD)


def read(
    folder: Path, name: str, key: str, columns: Columns
) -> tuple[list[str], list[list[str | None]]]:
    """The passages of a text file, or the table in a csv, tsv, jsonl or parquet file.

    Raises:
        InputError: The file is missing, is not UTF-8, holds no text, or is a text file where the
            pipeline reads prompts and completions.
    """
    path = folder / name
    if path.suffix.lower() != TEXT_FILE or not path.is_file():
        return read_cells(path, key)
    if columns.completion is not None:
        remedy = (
            "Prompts and completions are columns: give a table, or take them out of data.columns."
        )
        raise wrong(key, name, remedy)
    passages = cut_passages(decode(path, key).replace("\r\n", "\n"))
    if not passages:
        raise wrong(key, name, "The file holds no text.")
    return [columns.text], [[passage] for passage in passages]


def cut_passages(text: str, longest: int = PASSAGE) -> list[str]:
    """Passages of at most `longest` characters that make the text when they are joined.

    A passage ends after a blank line where there is one within its length; what is longer without
    one is cut after a line, a word, or in the middle of one. Blank passages are left out.
    """
    passages, kept = [], ""
    for piece in _cut(text, longest, _STOPS):
        if len(kept) + len(piece) > longest:
            passages.append(kept)
            kept = ""
        kept += piece
    return [passage for passage in (*passages, kept) if passage.strip()]


def _cut(text: str, longest: int, stops: tuple[re.Pattern[str], ...]) -> list[str]:
    """Pieces of at most `longest` characters, cut at the first kind of stop that suffices."""
    if len(text) <= longest and len(stops) < len(_STOPS):
        return [text]
    if not stops:
        return [text[start : start + longest] for start in range(0, len(text), longest)]
    pieces = (match.group() for match in stops[0].finditer(text))
    return [part for piece in pieces for part in _cut(piece, longest, stops[1:])]


def measure(
    folder: Path,  # noqa: ARG001 - every problem's part is called alike
    rows: pandas.DataFrame,
    columns: Columns,
    memory: Memory | None = None,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """The digest of each row's normalised text, or of its prompt, as `key`.

    Completions of one prompt stay on one side of a split: what is asked there must be new.
    """
    import pandas

    keys = [digest_text(text) for text in rows[name_input(columns)]]
    return pandas.DataFrame({"key": keys}, index=rows.index)


def name_input(columns: Columns) -> str:
    """The column of what the model goes on from: the prompt where completions are learned."""
    return columns.text if columns.completion is None else str(columns.prompt)


def name_scored(columns: Columns) -> str:
    """The column of what is learned and scored."""
    return columns.text if columns.completion is None else columns.completion
