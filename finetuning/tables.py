"""Reading labelled tables: csv, tsv, jsonl and parquet, every value as text."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.cells import LONGEST_CELL, as_text, blank, check_cells, check_header, check_width
from finetuning.errors import InputError, wrong
from finetuning.parquet import bound_text, read_parquet, scan_parquet

if TYPE_CHECKING:
    import pandas

PIECE = 1_000  # characters that are normalised at once
ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def read_table(path: Path, key: str = "data.train") -> pandas.DataFrame:
    """Read a table; every value is text, or None where the cell is empty or null.

    Args:
        path: The file; its ending says its format.
        key: The pipeline file's key that named it, for the error.

    Raises:
        InputError: The file is missing, unreadable, not UTF-8, ragged, or has no rows.
    """
    import pandas

    columns, values = read_cells(path, key)
    return pandas.DataFrame(values, columns=columns, dtype=object)


def read_cells(path: Path, key: str) -> tuple[list[str], list[list[str | None]]]:
    """As `read_table`: the columns' names and the rows, without pandas."""
    check_file(path, key)
    readers = {
        ".csv": lambda: _read_delimited(path, ",", key),
        ".tsv": lambda: _read_delimited(path, "\t", key),
        ".jsonl": lambda: _read_jsonl(path, key),
        ".parquet": lambda: _read_parquet(path, key),
    }
    columns, values = readers[path.suffix.lower()]()
    if not values:
        raise explain_empty(path, key)
    return columns, values


def explain_empty(path: Path, key: str) -> InputError:
    """That a table has no rows."""
    return wrong(key, path.name, "The table has no rows: give at least a few for each label.")


def check_file(path: Path, key: str) -> None:
    """Refuse what is no file, or has not the ending of a table.

    Raises:
        InputError: It is such a one; with the tables beside it.
    """
    if not path.is_file():
        # What an option names is said as it was given, what a pipeline file names by its own name.
        given = str(path) if key.startswith("--") else path.name
        raise wrong(key, given, explain_absence(path))
    if path.suffix.lower() not in ENDINGS:
        raise wrong(key, path.name, f"Give a table that ends with {', '.join(ENDINGS)}.")


def explain_absence(path: Path) -> str:
    """What is there in place of a table that is not there."""
    parent = path.absolute().parent
    if path.is_dir():
        return "It is a folder, and not a table."
    if not parent.is_dir():
        return f"There is no folder {parent}."
    if not path.suffix:
        return "There is no such file or folder."
    near = sorted(item.name for item in parent.glob("*") if item.suffix in ENDINGS)
    there = f"It holds {', '.join(near[:10])}." if near else "It holds no table."
    return f"There is no such file in {f'{parent.name}/' if parent.name else parent}. {there}"


def decode(path: Path, key: str) -> str:
    """A file's text: UTF-8, with or without a byte order mark.

    Raises:
        InputError: The file is not UTF-8.
    """
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise explain_encoding(path, line, data[error.start], key) from None


def explain_encoding(path: Path, line: int, byte: int, key: str) -> InputError:
    """That a byte in a line, counted from 1, is not UTF-8."""
    remedy = "The file is not UTF-8. Save it as UTF-8 (iconv -f latin1 -t utf-8 OLD > NEW)."
    return wrong(key, f"{path.name}, line {line}: byte 0x{byte:02x}", remedy)


def _read_delimited(
    path: Path, delimiter: str, key: str
) -> tuple[list[str], list[list[str | None]]]:
    rows = list(parse_delimited(io.StringIO(decode(path, key), newline=""), delimiter, path, key))
    header = rows.pop(0) if rows else []
    check_header(header, path, key)
    ragged = [number for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if ragged:
        raise explain_ragged(len(ragged), ragged[0], header, path, key)
    return header, [blank(row) for row in rows]


def parse_delimited(
    lines: Iterable[str], delimiter: str, path: Path, key: str
) -> Iterator[list[str]]:
    """The rows of a csv or tsv file, the header first; lines without a cell are none.

    Raises:
        InputError: A line holds a null byte, or quotes do not match.
    """
    csv.field_size_limit(LONGEST_CELL)
    # Strict: a quote that is never closed would swallow the rows after it without a word.
    reader = csv.reader(_refuse_nulls(lines, path, key), delimiter=delimiter, strict=True)
    begin = 1
    try:
        for row in reader:
            begin = reader.line_num + 1
            if row:
                yield row
    except csv.Error as error:
        found = f"{path.name}, in the row that begins on line {begin}"
        remedy = 'Put a cell with quotes in quotes, and write each of its own twice: "a ""b"" c".'
        raise wrong(key, found, f"{str(error).capitalize()}. {remedy}") from None


def _refuse_nulls(lines: Iterable[str], path: Path, key: str) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            remedy = "The file holds null bytes: it is damaged or not a text table."
            raise wrong(key, path.name, remedy)
        yield line


def explain_ragged(
    count: int, first: int, header: Sequence[str], path: Path, key: str
) -> InputError:
    """That some rows, the first of them by its 1-based number, have not the header's cells."""
    found = f"{path.name}: {count} rows without {len(header)} cells, first row {first}"
    return wrong(key, found, "Quote cells that hold the delimiter or a line break.")


def _read_jsonl(path: Path, key: str) -> tuple[list[str], list[list[str | None]]]:
    # Not str.splitlines: it would also cut at U+2028 and the like, which JSON lets stand.
    return tabulate(list(parse_records(decode(path, key).split("\n"), path, key)), path, key)


def parse_records(lines: Iterable[str], path: Path, key: str) -> Iterator[dict[str, Any]]:
    """The objects of a jsonl file; blank lines are none.

    Raises:
        InputError: A line is not one JSON object, or holds half a character.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            json.dumps(record, ensure_ascii=False).encode()  # refuses half a character: \ud800
        except (ValueError, RecursionError):
            found = f"{path.name}, line {number}"
            raise wrong(key, found, "Not JSON: one object a line.") from None
        if not isinstance(record, dict):
            raise wrong(key, f"{path.name}, line {number}", "Give one JSON object a line.")
        yield record


def tabulate(
    records: Sequence[dict[str, Any]], path: Path, key: str
) -> tuple[list[str], list[list[str | None]]]:
    """Records of JSON as the names of all their columns, and rows of texts.

    Raises:
        InputError: Each record has names of its own, so that nearly all cells would be empty.
    """
    columns = list(dict.fromkeys(name for record in records for name in record))
    check_width(len(columns), path.name, key)
    check_cells(len(records) * len(columns), path.name, key)
    return columns, [[as_text(record.get(name)) for name in columns] for record in records]


def normalise(text: str) -> str:
    """The text as duplicates are compared: NFKC, case and white space do not count."""
    # In pieces: a run of accents takes the square of its length.
    pieces = (text[start : start + PIECE] for start in range(0, len(text), PIECE))
    normal = "".join(unicodedata.normalize("NFKC", piece) for piece in pieces)
    return " ".join(normal.casefold().split())


def _read_parquet(path: Path, key: str) -> tuple[list[str], list[list[str | None]]]:
    columns, rows = scan_parquet(path, key)
    check_cells(rows * len(columns), path.name, key)
    return columns, list(bound_text(read_parquet(path, key), path, key))
