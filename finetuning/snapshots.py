"""A data set's tables read once, with every row's split and where it came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from finetuning.digests import digest_value
from finetuning.errors import Fault, InputError
from finetuning.splits import assign_splits, digest_text
from finetuning.tables import check_columns, read_cells

if TYPE_CHECKING:
    import pandas

    from finetuning.config import Data

SPLITS = ("train", "validation", "test")
RESERVED = ("file", "row", "split", "key")
PREDICTED = ("id", "label", "prediction", "score")  # columns of the prediction table


class Table(NamedTuple):
    """One table of the data set: the split that it is for, its file, its columns, its rows."""

    split: str
    name: str
    columns: list[str]
    values: list[list[str | None]]


def take_snapshot(folder: Path, data: Data) -> pandas.DataFrame:
    """Read the tables that the pipeline file names and split what is not split yet.

    Args:
        folder: The data set's folder.
        data: The pipeline file's `data`.

    Returns:
        The user's columns, all text or None, and before them file, row (1-based number of the data
        row in that file), split (train, validation, test, left-out) and key (digest of the
        normalised text).

    Raises:
        InputError: A file or a column is missing, or a file cannot be read; all are listed.
    """
    import pandas

    tables = [
        _mark(pandas.DataFrame(values, columns=columns, dtype=object), split, name)
        for split, name, columns, values in read_tables(folder, data)
    ]
    rows = pandas.concat(tables)
    rows = rows.reset_index(drop=True)
    rows = rows.astype(object).where(rows.notna(), None)  # a column that only one file has
    rows["row"] = rows["row"].astype("int64")
    rows["key"] = _digest_texts(rows, data)
    rows["label"] = rows[_user_column(data.columns.label)]
    rows = assign_splits(rows)
    rows = rows.drop(columns="label").rename(columns=lambda name: name.removeprefix(_PREFIX))
    return rows[[*RESERVED, *(name for name in rows.columns if name not in RESERVED)]]


def read_tables(folder: Path, data: Data) -> list[Table]:
    """The tables that the pipeline file names, read without pandas and held against the file.

    Args:
        folder: The data set's folder.
        data: The pipeline file's `data`.

    Raises:
        InputError: A file or a column is missing, or a file cannot be read; all are listed.
    """
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
            columns, values = read_cells(folder / name, f"data.{split}")
        except InputError as error:
            faults += error.faults
            continue
        wanted = _want_columns(data, split)
        faults += check_columns(columns, wanted, name)
        faults += [
            Fault(key, repr(column), f"Rename the column: {column} is a name of Tunesmith's own.")
            for key, column in wanted.items()
            if column in RESERVED or (column in PREDICTED and column != data.columns.label)
        ]
        tables.append(Table(split, name, columns, values))
    if faults:
        raise InputError(list(dict.fromkeys(faults)))
    return tables


# The user's columns may bear the names of ours until the very end.
_PREFIX = "user\x1f"


def _user_column(name: str) -> str:
    return f"{_PREFIX}{name}"


def _want_columns(data: Data, split: str) -> dict[str, str]:
    columns = data.columns
    wanted = {"data.columns.text": columns.text, "data.columns.label": columns.label}
    if columns.text_pair is not None:
        wanted["data.columns.text_pair"] = columns.text_pair
    if split == "test" or data.test is None:
        wanted |= {f"data.slices[{index}]": name for index, name in enumerate(data.slices)}
    return wanted


def _mark(table: pandas.DataFrame, split: str, name: str) -> pandas.DataFrame:
    # A reserved column that the pipeline file does not use is not missed.
    marked = table.drop(columns=[own for own in RESERVED if own in table.columns])
    marked = marked.rename(columns=_user_column)
    marked.insert(0, "file", name)
    marked.insert(1, "row", range(1, len(table) + 1))
    marked.insert(2, "split", split)
    return marked


def _digest_texts(rows: pandas.DataFrame, data: Data) -> list[str]:
    texts = rows[_user_column(data.columns.text)]
    if data.columns.text_pair is None:
        return [digest_text(text) for text in texts]
    pairs = rows[_user_column(data.columns.text_pair)]
    return [digest_text(*both) for both in zip(texts, pairs, strict=True)]


def digest_rows(rows: pandas.DataFrame, data: Data) -> dict[str, str]:
    """Digest of each split's rows: their texts and labels, in order."""
    columns = [data.columns.text, data.columns.label]
    if data.columns.text_pair is not None:
        columns.append(data.columns.text_pair)
    return {
        split: digest_value(rows.loc[rows["split"] == split, columns].to_numpy().tolist())
        for split in SPLITS
    }
