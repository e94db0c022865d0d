"""Labelled texts as a table, and when two of them are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from finetuning.splits import digest_text
from finetuning.table_streams import TableRows, open_table

if TYPE_CHECKING:
    from pathlib import Path

    import pandas

    from finetuning.config import Columns
    from finetuning.known_contents import Memory


def read(
    folder: Path,
    name: str,
    key: str,
    columns: Columns,  # noqa: ARG001 - every problem's part is called alike
) -> tuple[list[str], TableRows]:
    """The table in a file: csv, tsv, jsonl or parquet."""
    return open_table(folder / name, key)


def measure(
    folder: Path,  # noqa: ARG001 - every problem's part is called alike
    rows: pandas.DataFrame,
    columns: Columns,
    memory: Memory | None = None,  # noqa: ARG001 - likewise
) -> pandas.DataFrame:
    """The digest of each row's normalised text, or pair of texts, as `key`."""
    import pandas

    texts = rows[columns.text]
    if columns.text_pair is None:
        keys = [digest_text(text) for text in texts]
    else:
        keys = [digest_text(*both) for both in zip(texts, rows[columns.text_pair], strict=True)]
    return pandas.DataFrame({"key": keys}, index=rows.index)
