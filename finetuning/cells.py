"""Cells of tables as text, and how many of them a table may have."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetuning.errors import Fault, wrong

LONGEST_CELL = 10_000_000  # characters
MOST_CELLS = 100_000_000  # rows x columns, each of 8 bytes or more however little the file says
MOST_COLUMNS = 10_000
SHOWN = 60  # characters of a name
NAMED = 30  # names in one message


def list_names(names: Sequence[str]) -> str:
    """The names of columns in one line, of which a hostile file may have millions."""
    shown = ", ".join(str(name)[:SHOWN] for name in names[:NAMED])
    return f"{shown} and {len(names) - NAMED:,} more" if len(names) > NAMED else shown


def check_columns(columns: Sequence[str], wanted: dict[str, str], file: str) -> list[Fault]:
    """One fault for each wanted column (pipeline key -> name) that a table lacks."""
    remedy = f"{file} has the columns {list_names(columns)}."
    known = set(columns)
    return [Fault(key, repr(name), remedy) for key, name in wanted.items() if name not in known]


def check_width(columns: int, name: str, key: str) -> None:
    """Refuse a table with columns without end.

    Raises:
        InputError: It has more than MOST_COLUMNS.
    """
    if columns > MOST_COLUMNS:
        remedy = f"At most {MOST_COLUMNS:,} are read: leave out those that the problem does not."
        raise wrong(key, f"{name}: {columns:,} columns", remedy)


def check_cells(count: int, name: str, key: str) -> None:
    """Refuse a table whose size in memory has nothing to do with its size on disk.

    Raises:
        InputError: It has more than MOST_CELLS cells.
    """
    if count > MOST_CELLS:
        remedy = f"At most {MOST_CELLS:,} are read: leave columns out, or give every row the same."
        raise wrong(key, f"{name}: {count:,} cells", remedy)


def check_header(header: Sequence[str], path: Path, key: str) -> None:
    """Refuse a header without columns, with too many, or with one twice.

    Raises:
        InputError: It is such a one.
    """
    if not header:
        raise wrong(key, path.name, "The file is empty: it needs a header line and rows.")
    check_width(len(header), path.name, key)
    double = next((name for name, count in Counter(header).items() if count > 1), None)
    if double is not None:
        raise wrong(key, f"{path.name}: column {double[:SHOWN]!r} twice", "Name each column once.")


def blank(row: Sequence[str]) -> list[str | None]:
    """A row in which empty cells are None."""
    return [cell if cell != "" else None for cell in row]


def as_text(value: Any) -> str | None:
    """A cell of JSON or parquet as text; None where it is null, empty or no number."""
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
