"""A data set's tables read once, with every row's split and where it came from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetuning.cells import check_columns
from finetuning.digests import digest_value, render_value
from finetuning.errors import Fault, InputError
from finetuning.problem import find_problem
from finetuning.roles import ROLES
from finetuning.splits import assign_splits

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Columns, Data
    from finetuning.known_contents import Memory

SPLITS = ("train", "validation", "test")
RESERVED = ("file", "row", "split", "key")
PREDICTED = ("id", "label", "prediction", "score")  # columns of the prediction table
_BLOCK = 100_000  # cells that are text at a time
ROWS_A_CHUNK = 20_000  # rows that are held as Python's objects at once
SCORED = {"causal-lm": ("loss", "tokens", "words")}  # further ones of a problem


class Table(NamedTuple):
    """One table of the data set: the split that it is for, its file, its columns, its rows."""

    split: str
    name: str
    columns: list[str]
    values: Iterable[list[str | None]]


def take_snapshot(
    folder: Path, data: Data, kind: str = "text-classification", memory: Memory | None = None
) -> pandas.DataFrame:
    """Read the tables that the pipeline file names and split what is not split yet.

    No table is held whole but in the columns that are made of it, as pyarrow keeps texts.

    Args:
        folder: The data set's folder.
        data: The pipeline file's `data`.
        kind: The pipeline file's `problem`.
        memory: What is known of the files that rows name; what is found out is added to it.

    Returns:
        The user's columns, all text or missing, and before them file, row (1-based number of the
        data row in that file), split (train, validation, test, left-out) and key (the same for rows
        that are the same to the problem: of the normalised text, for instance).

    Raises:
        InputError: A file or a column is missing, or a file cannot be read; all are listed.
    """
    import pandas
    import pyarrow

    measure = find_problem(kind).reading.measure
    chunks = []
    for table in read_tables(folder, data, kind):
        for first, chunk in cut_rows(table):
            found = measure(folder, chunk, data.columns, memory)
            marked = _mark(chunk, table.split, table.name, first)
            marked[found.columns] = found.to_numpy()
            chunks.append(_compact(marked))
    rows = pandas.concat(chunks, ignore_index=True)
    del chunks
    pyarrow.default_memory_pool().release_unused()  # what the chunks have left behind
    has_classes = find_problem(kind).has_classes
    labels = rows[_user_column(data.columns.label)] if has_classes else ""
    rows["split"] = assign_splits(rows[["key", "split"]].assign(label=labels))["split"]
    rows = rows.rename(columns=lambda name: name.removeprefix(_PREFIX))
    return rows[[*RESERVED, *(name for name in rows.columns if name not in RESERVED)]]


def cut_rows(table: Table) -> Iterator[tuple[int, pandas.DataFrame]]:
    """The rows of a table some at a time, every value text or None, and the number of the first."""
    import pandas

    rows, first = iter(table.values), 1
    while chunk := list(islice(rows, ROWS_A_CHUNK)):
        yield first, pandas.DataFrame(chunk, columns=table.columns, dtype=object)
        first += len(chunk)


def _compact(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with their texts as pyarrow keeps them, which takes a third of the memory."""
    made = {}
    for name in rows.columns.drop("row"):
        with suppress(UnicodeEncodeError):  # half a surrogate pair is found by validation
            made[name] = rows[name].astype("str")
    return rows.assign(**made)


def spell_out(rows: pandas.DataFrame) -> pandas.DataFrame:
    """The rows with their texts as objects of Python, None where one is missing."""
    texts = [name for name in rows.columns if name != "row"]
    return rows.assign(
        **{name: rows[name].astype(object).where(rows[name].notna(), None) for name in texts}
    )


def read_tables(folder: Path, data: Data, kind: str = "text-classification") -> list[Table]:
    """The tables that the pipeline file names, read without pandas and held against the file.

    Args:
        folder: The data set's folder.
        data: The pipeline file's `data`.
        kind: The pipeline file's `problem`.

    Raises:
        InputError: A file or a column is missing, or a file cannot be read; all are listed.
    """
    reading = find_problem(kind).reading
    faults: list[Fault] = []
    tables = []
    for split in SPLITS:
        name = getattr(data, split)
        if name is None:
            continue
        if Path(name).is_absolute() or ".." in Path(name).parts:
            # Its content would be in no data version and no stage's key.
            remedy = f"Put the file into {data.path} and name it relative to that folder."
            faults.append(Fault(f"data.{split}", repr(name), remedy))
            continue
        try:
            columns, values = reading.read(folder, name, f"data.{split}", data.columns)
        except InputError as error:
            faults += error.faults
            continue
        wanted = _want_columns(data, kind, split)
        faults += check_columns(columns, wanted, name)
        taken = (*PREDICTED, *SCORED.get(kind, ()))
        faults += [
            Fault(key, repr(column), f"Rename the column: {column} is a name of Tunesmith's own.")
            for key, column in wanted.items()
            if column in RESERVED or (column in taken and column != data.columns.label)
        ]
        tables.append(Table(split, name, columns, values))
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    return tables


# The user's columns may bear the names of ours until the very end.
_PREFIX = "user\x1f"


def _user_column(name: str) -> str:
    return f"{_PREFIX}{name}"


def _want_columns(data: Data, kind: str, split: str) -> dict[str, str]:
    wanted = {f"data.columns.{role}": name for role, name in list_columns(data.columns, kind)}
    if split == "test" or data.test is None:
        wanted |= {f"data.slices[{index}]": name for index, name in enumerate(data.slices)}
    return wanted


def list_columns(columns: Columns, kind: str) -> list[tuple[str, str]]:
    """The columns that a problem reads: each one's key in data.columns, and its name."""
    named = [(role, getattr(columns, role)) for role in ROLES[kind]]
    if kind == "causal-lm" and columns.prompt is not None:
        named = [(role, name) for role, name in named if role != "text"]
    return [(role, name) for role, name in named if name is not None]


def _mark(table: pandas.DataFrame, split: str, name: str, first: int) -> pandas.DataFrame:
    # A reserved column that the pipeline file does not use is not missed.
    marked = table.drop(columns=[own for own in RESERVED if own in table.columns])
    marked = marked.rename(columns=_user_column)
    marked.insert(0, "file", name)
    marked.insert(1, "row", range(first, first + len(table)))
    marked.insert(2, "split", split)
    return marked


def digest_rows(
    rows: pandas.DataFrame, data: Data, kind: str = "text-classification"
) -> dict[str, str]:
    """Digest of each split's rows: what the problem reads of them, in order.

    It is that of `digest_value` over the list of all rows, which is not made at once.
    """
    columns = ["key", *(name for _, name in list_columns(data.columns, kind))]
    digests = {}
    for split in SPLITS:
        digest, places = hashlib.sha256(b"["), (rows["split"] == split).to_numpy().nonzero()[0]
        for start in range(0, len(places), ROWS_A_CHUNK):
            chunk = spell_out(rows[columns].iloc[places[start : start + ROWS_A_CHUNK]])
            text = render_value(chunk.to_numpy().tolist())[1:-1]
            digest.update(f"{',' if start else ''}{text}".encode("utf-8", "surrogatepass"))
        digest.update(b"]")
        digests[split] = digest.hexdigest()
    return digests


def digest_reading(
    rows: pandas.DataFrame, data: Data, kind: str = "text-classification"
) -> dict[str, str]:
    """Digest of what each later stage reads of a snapshot, by the stage's name.

    Validation may look at every column. What is encoded depends on the columns that the problem
    reads, on what was measured of the files that they name, and on the rows' splits and order; what
    is evaluated, on where each row came from and on its slices, too.
    """
    named = list_columns(data.columns, kind)
    measured = tuple(f"{role}." for role, _ in named)  # such as image.width
    encoded = {"split", "key", *(name for _, name in named)}
    encoded |= {name for name in rows.columns if name.startswith(measured)}
    read = {
        "validate": set(rows.columns),
        "encode": encoded,
        "evaluate": encoded | {"file", "row", *data.slices},
    }
    digests = {name: _digest_column(rows, name) for name in rows.columns}
    return {
        stage: digest_value({name: digests[name] for name in names})
        for stage, names in read.items()
    }


def _digest_column(rows: pandas.DataFrame, name: str) -> str:
    digest = hashlib.sha256()
    for start in range(0, len(rows), _BLOCK):
        cells = spell_out(rows[[name]].iloc[start : start + _BLOCK])[name].tolist()
        digest.update(json.dumps(cells).encode())
    return digest.hexdigest()
