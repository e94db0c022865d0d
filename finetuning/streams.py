"""Rows of a table, or of a folder of images, some at a time: nothing is read whole.

The rules are those of `finetuning.tables`: every value is text, or None where it is empty or null.
A source is looked through once before its rows are read, so that what is wrong with it is said at
the beginning, and its rows are counted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finetuning.errors import TunesmithError, wrong
from finetuning.images import TRACES
from finetuning.table_streams import Row, scan_table, stream_rows
from finetuning.tables import check_file

CHARACTERS = 2**24  # in a chunk, after which it ends whatever its number of rows


@dataclass(frozen=True)
class Source:
    """A table or a folder of images that has been looked through.

    columns: names, in the file's order. rows: how many. mark: size in bytes and modification time
    in nanoseconds then; of a folder None. key: what named it, for errors.
    """

    path: Path
    columns: tuple[str, ...]
    rows: int
    mark: tuple[int, int] | None
    key: str

    @property
    def folder(self) -> Path:
        """The folder that paths in the rows are relative to."""
        return self.path if self.mark is None else self.path.parent

    def read(self) -> Iterator[Row]:
        """The rows, a cell a column."""
        if self.mark is None:
            return ([path] for path in list_images(self.path))
        return stream_rows(self.path, self.columns, self.key)

    def cut(self, size: int, characters: int = CHARACTERS) -> Iterator[list[Row]]:
        """The rows in chunks, which depend on nothing but the rows.

        Args:
            size: Most rows of a chunk.
            characters: A chunk that has as many ends.

        Raises:
            TunesmithError: The source was changed while it was read.
        """
        chunk: list[Row] = []
        held = rows = 0
        for row in self.read():
            chunk.append(row)
            rows += 1
            held += sum(len(cell) for cell in row if cell is not None)
            if len(chunk) == size or held >= characters:
                yield chunk
                chunk, held = [], 0
        if chunk:
            yield chunk
        if rows != self.rows or self.mark != _mark(self.path):
            raise TunesmithError(f"{self.path} was changed while it was read: predict again")


def find_source(path: Path, key: str, image_column: str | None = None) -> Source:
    """Look a table, or a folder of images, through.

    Args:
        path: A csv, tsv, jsonl or parquet file; or a folder.
        key: What named it, for the errors.
        image_column: The column of a folder's paths; None where a folder is no input.

    Raises:
        InputError: It is missing, cannot be read, is not UTF-8, ragged, or has no rows.
    """
    if path.is_dir():
        if image_column is None:
            raise wrong(key, path.name, "This model reads a table: csv, tsv, jsonl or parquet.")
        columns, rows = [image_column], sum(1 for _ in list_images(path))
    else:
        check_file(path, key)
        columns, rows = scan_table(path, key)
    if not rows:
        raise wrong(key, path.name, "It has no rows: there is nothing to predict.")
    return Source(path, tuple(columns), rows, _mark(path), key)


def list_images(folder: Path) -> Iterator[str]:
    """Paths of all files in a folder and those in it, relative to it; hidden ones are left out."""
    yield from _list_files(folder, "")


def _list_files(folder: Path, within: str) -> Iterator[str]:
    for item in sorted(folder.iterdir()):
        if item.name.startswith(".") or item.name.lower() in TRACES:
            continue
        if item.is_dir():
            if not item.is_symlink():  # it could lead back here
                yield from _list_files(item, f"{within}{item.name}/")
        else:
            yield f"{within}{item.name}"


def _mark(path: Path) -> tuple[int, int] | None:
    if path.is_dir():
        return None
    try:
        status = path.stat()
    except OSError:
        return (-1, -1)
    return (status.st_size, status.st_mtime_ns)


def digest_rows(columns: tuple[str, ...], rows: list[Row], beside: Mapping[str, str]) -> str:
    """SHA-256 of some rows and of what is known of files that they name."""
    from finetuning.digests import digest_value

    return digest_value([json.dumps(columns), rows, dict(beside)])
