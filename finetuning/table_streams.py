"""The rows of a csv, tsv, jsonl or parquet file one by one: no table is held whole.

The rules are those of `finetuning.tables`: every value is text, or None where it is empty or null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from finetuning.cells import as_text, blank, check_cells, check_header, check_width
from finetuning.errors import InputError, wrong
from finetuning.parquet import bound_text, read_parquet, scan_parquet
from finetuning.tables import (
    check_file,
    explain_empty,
    explain_encoding,
    explain_ragged,
    parse_delimited,
    parse_records,
)

Row = list[str | None]
DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
LONGEST_LINE = 2**26  # characters


@dataclass(frozen=True)
class TableRows:
    """The rows of a table that is to be held, read anew each time they are gone through."""

    path: Path
    columns: tuple[str, ...]
    key: str

    def __iter__(self) -> Iterator[Row]:
        rows = stream_rows(self.path, self.columns, self.key)
        is_packed = self.path.suffix.lower() == PARQUET
        return bound_text(rows, self.path, self.key) if is_packed else rows


def open_table(path: Path, key: str) -> tuple[list[str], TableRows]:
    """The columns of a table that was looked through, and its rows.

    Args:
        path: The file; its ending says its format.
        key: The pipeline file's key that named it, for the error.

    Raises:
        InputError: The file is missing, unreadable, not UTF-8, ragged, or has no rows.
    """
    check_file(path, key)
    columns, rows = scan_table(path, key)
    if not rows:
        raise explain_empty(path, key)
    if path.suffix.lower() not in DELIMITERS:
        check_cells(rows * len(columns), path.name, key)
    return columns, TableRows(path, tuple(columns), key)


def read_columns(path: Path, key: str) -> list[str]:
    """The columns of a table, of a jsonl file those of its first row.

    Raises:
        InputError: It is missing or cannot be read.
    """
    check_file(path, key)
    if path.suffix.lower() == PARQUET:
        return scan_parquet(path, key)[0]
    with _open_text(path, key) as lines:
        if (delimiter := DELIMITERS.get(path.suffix.lower())) is not None:
            return next(parse_delimited(lines, delimiter, path, key), [])
        return list(next(parse_records(lines, path, key), {}))


def scan_table(path: Path, key: str) -> tuple[list[str], int]:
    """The columns of a table, and how many rows it has.

    Raises:
        InputError: It cannot be read, is not UTF-8, or is ragged.
    """
    if path.suffix.lower() == PARQUET:
        return scan_parquet(path, key)
    columns: dict[str, None] = {}
    with _open_text(path, key) as lines:
        if (delimiter := DELIMITERS.get(path.suffix.lower())) is None:
            rows = 0
            for record in parse_records(lines, path, key):
                columns.update(dict.fromkeys(record))
                check_width(len(columns), path.name, key)
                rows += 1
            return list(columns), rows
        cells = parse_delimited(lines, delimiter, path, key)
        header = next(cells, [])
        check_header(header, path, key)
        rows = ragged = first = 0
        for row in cells:
            rows += 1
            if len(row) != len(header):
                ragged, first = ragged + 1, first or rows
        if ragged:
            raise explain_ragged(ragged, first, header, path, key)
    return header, rows


def stream_rows(path: Path, columns: Sequence[str], key: str) -> Iterator[Row]:
    """The rows of a table that was scanned, a cell a column."""
    ending = path.suffix.lower()
    if ending == PARQUET:
        yield from read_parquet(path, key)
        return
    with _open_text(path, key) as lines:
        if (delimiter := DELIMITERS.get(ending)) is not None:
            cells = parse_delimited(lines, delimiter, path, key)
            next(cells, None)
            yield from map(blank, cells)
        else:
            for record in parse_records(lines, path, key):
                yield [as_text(record.get(name)) for name in columns]


@contextmanager
def _open_text(path: Path, key: str) -> Iterator[Iterator[str]]:
    """The lines of a file; a jsonl file's end nowhere but at a line feed.

    Raises:
        InputError: It is not UTF-8.
    """
    newline = "" if path.suffix.lower() in DELIMITERS else "\n"
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as lines:
            yield _bound_lines(lines, path, key)
    except UnicodeDecodeError:
        raise _find_undecodable(path, key) from None


def _bound_lines(lines: IO[str], path: Path, key: str) -> Iterator[str]:
    """A file's lines, none of them longer than LONGEST_LINE.

    Raises:
        InputError: One is: it would have to be held whole.
    """
    while line := lines.readline(LONGEST_LINE + 1):
        if len(line) > LONGEST_LINE:
            found = f"{path.name}: a line of more than {LONGEST_LINE:,} characters"
            raise wrong(key, found, "Cut it in lines: a row, or a JSON object, each.")
        yield line


def _find_undecodable(path: Path, key: str) -> InputError:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                return explain_encoding(path, number, line[error.start], key)
    return wrong(key, path.name, "The file was changed while it was read.")
