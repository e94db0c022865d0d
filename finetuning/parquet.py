"""Parquet tables, some rows at a time: a small file can unpack to terabytes, and does not here.

Texts that repeat stand once in a parquet file, and stay once in memory; what a file says of itself
is checked before it is unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from finetuning.cells import LONGEST_CELL, as_text, check_cells, check_header
from finetuning.errors import InputError, wrong

ROWS_A_READ = 1000  # that are unpacked at once
LEAST_TEXT = 2**29  # characters that any file may unpack to where they are held
MOST_PACKED = 50  # characters a byte of the file; prose is packed to a third of a byte each
VALUE = 32  # characters that a value inside a nested cell is counted as, beside its text


def scan_parquet(path: Path, key: str) -> tuple[list[str], int]:
    """The columns of a parquet file, and how many rows it has.

    Raises:
        InputError: It cannot be read, or holds nested cells of too many values.
    """
    with _open(path, key) as file:
        metadata = file.metadata
        columns, rows = list(file.schema_arrow.names), int(metadata.num_rows)
        nested = [
            place
            for place in range(metadata.num_columns)
            if metadata.schema.column(place).max_repetition_level > 0
        ]
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            check_cells(sum(group.column(place).num_values for place in nested), path.name, key)
    check_header(columns, path, key)
    return columns, rows


def read_parquet(path: Path, key: str) -> Iterator[list[str | None]]:
    """The rows of a parquet file, a cell a column; equal texts of a batch are one object.

    Raises:
        InputError: It cannot be read, or a cell is longer than LONGEST_CELL.
    """
    scan_parquet(path, key)
    with _open(path, key) as file:
        for batch in file.iter_batches(batch_size=ROWS_A_READ):
            cells = [_convert(column, path.name, key) for column in batch.columns]
            for row in zip(*cells, strict=True):
                yield list(row)


def bound_text(
    rows: Iterator[list[str | None]], path: Path, key: str
) -> Iterator[list[str | None]]:
    """The rows of a parquet file that are to be held, whose texts may stand there once for many.

    Raises:
        InputError: They are more than any text would be packed to.
    """
    held, most = 0, max(LEAST_TEXT, MOST_PACKED * path.stat().st_size)
    for row in rows:
        held += sum(len(cell) for cell in row if cell is not None)
        if held > most:
            found = f"{path.name}: it unpacks to more than {most:,} characters"
            raise wrong(key, found, "Leave columns out that repeat long texts, or give fewer rows.")
        yield row


@contextmanager
def _open(path: Path, key: str) -> Iterator[Any]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            schema = file.metadata.schema
            leaves = [schema.column(place) for place in range(len(schema))]
        texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
        with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as file:
            yield file
    except (pyarrow.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        remedy = f"The file cannot be read as parquet: {reason.rstrip('.')}."
        raise wrong(key, path.name, remedy) from None


def _convert(column: Any, name: str, key: str) -> Iterator[str | None]:
    """The cells of a column of one batch, each made when it is asked for."""
    from pyarrow import types

    if types.is_dictionary(column.type):
        values = [as_text(value) for value in column.dictionary.to_pylist()]
        if any(len(value) > LONGEST_CELL for value in values if value is not None):
            raise _explain_cell(name, key)
        yield from (
            None if place is None else values[place] for place in column.indices.to_pylist()
        )
    elif types.is_nested(column.type):
        for place in range(len(column)):
            cell = column.slice(place, 1)
            if _weigh(cell) > LONGEST_CELL:
                raise _explain_cell(name, key)
            yield as_text(cell.to_pylist()[0])
    else:
        yield from map(as_text, column.to_pylist())


def _weigh(array: Any) -> int:
    """About how many characters the values of an array are as text."""
    from pyarrow import compute, types

    if types.is_dictionary(array.type) and not types.is_primitive(array.type.value_type):
        lengths = compute.take(compute.binary_length(array.dictionary), array.indices)
        return VALUE * len(array) + int(compute.sum(lengths).as_py() or 0)
    if types.is_struct(array.type):
        return sum(map(_weigh, array.flatten()))
    if types.is_map(array.type):
        return _weigh(array.keys) + _weigh(array.items)
    if types.is_nested(array.type):
        return _weigh(array.flatten())
    return VALUE * len(array)


def _explain_cell(name: str, key: str) -> InputError:
    remedy = "Shorten it, or leave the column out."
    return wrong(key, f"{name}: a cell of more than {LONGEST_CELL:,} characters", remedy)
