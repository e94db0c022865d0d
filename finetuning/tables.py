"""Reading labelled tables: csv, tsv, jsonl and parquet, every value as text."""

from __future__ import annotations

import csv
import io
import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import Fault, wrong

if TYPE_CHECKING:
    import pandas

ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
LONGEST_CELL = 10_000_000  # characters


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
    if not path.is_file():
        near = sorted(item.name for item in path.parent.glob("*") if item.suffix in ENDINGS)
        there = f" It holds {', '.join(near[:10])}." if near else " It holds no table."
        folder = path.absolute().parent.name
        raise wrong(key, path.name, f"There is no such file in {folder}/.{there}")
    readers = {
        ".csv": lambda: _read_delimited(path, ",", key),
        ".tsv": lambda: _read_delimited(path, "\t", key),
        ".jsonl": lambda: _read_jsonl(path, key),
        ".parquet": lambda: _read_parquet(path, key),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise wrong(key, path.name, f"Give a table that ends with {', '.join(ENDINGS)}.")
    columns, values = reader()
    if not values:
        raise wrong(key, path.name, "The table has no rows: give at least a few for each label.")
    return columns, values


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
        found = f"{path.name}, line {line}: byte 0x{data[error.start]:02x}"
        remedy = "The file is not UTF-8. Save it as UTF-8 (iconv -f latin1 -t utf-8 OLD > NEW)."
        raise wrong(key, found, remedy) from None


def _read_delimited(
    path: Path, delimiter: str, key: str
) -> tuple[list[str], list[list[str | None]]]:
    text = decode(path, key)
    if "\0" in text:
        raise wrong(key, path.name, "The file holds null bytes: it is damaged or not a text table.")
    csv.field_size_limit(LONGEST_CELL)
    # Strict: a quote that is never closed would swallow the rows after it without a word.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows = []
    begin = 1
    try:
        for row in reader:
            begin = reader.line_num + 1
            if row:
                rows.append(row)
    except csv.Error as error:
        found = f"{path.name}, in the row that begins on line {begin}"
        remedy = 'Put a cell with quotes in quotes, and write each of its own twice: "a ""b"" c".'
        raise wrong(key, found, f"{str(error).capitalize()}. {remedy}") from None
    header = rows.pop(0) if rows else []
    _check_header(header, path, key)
    ragged = [number for number, row in enumerate(rows, 1) if len(row) != len(header)]
    if ragged:
        first = ragged[0]
        found = f"{path.name}: {len(ragged)} rows without {len(header)} cells, first row {first}"
        raise wrong(key, found, "Quote cells that hold the delimiter or a line break.")
    return header, [[cell if cell != "" else None for cell in row] for row in rows]


def _check_header(header: list[str], path: Path, key: str) -> None:
    if not header:
        raise wrong(key, path.name, "The file is empty: it needs a header line and rows.")
    doubles = sorted({name for name in header if header.count(name) > 1})
    if doubles:
        raise wrong(key, f"{path.name}: column {doubles[0]!r} twice", "Name each column once.")


def _read_jsonl(path: Path, key: str) -> tuple[list[str], list[list[str | None]]]:
    records: list[dict[str, Any]] = []
    # Not str.splitlines: it would also cut at U+2028 and the like, which JSON lets stand.
    for number, line in enumerate(decode(path, key).split("\n"), 1):
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
        records.append(record)
    return tabulate(records)


def tabulate(records: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str | None]]]:
    """Records of JSON as the names of all their columns, and rows of texts."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    return columns, [[_as_text(record.get(name)) for name in columns] for record in records]


def _read_parquet(path: Path, key: str) -> tuple[list[str], list[list[str | None]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
        columns = list(table.column_names)
        values = [table.column(name).to_pylist() for name in range(table.num_columns)]
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        remedy = f"The file cannot be read as parquet: {reason.rstrip('.')}."
        raise wrong(key, path.name, remedy) from None
    _check_header(columns, path, key)
    return columns, [[_as_text(cell) for cell in row] for row in zip(*values, strict=True)]


def _as_text(value: Any) -> str | None:
    if value is None or value == "" or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def normalise(text: str) -> str:
    """The text as duplicates are compared: NFKC, case and white space do not count."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def check_columns(columns: Sequence[str], wanted: dict[str, str], file: str) -> list[Fault]:
    """One fault for each wanted column (pipeline key -> name) that a table lacks."""
    remedy = f"{file} has the columns {', '.join(map(str, columns))}."
    return [Fault(key, repr(name), remedy) for key, name in wanted.items() if name not in columns]
