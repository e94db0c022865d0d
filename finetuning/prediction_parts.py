"""Predictions of long tables, kept part by part beside what they will become.

A part is a parquet file that carries the digest of the rows that it answers; it is written under
another name and moved into place, so what is there is whole. Whoever comes back after a kill finds
the parts of the same job and goes on after them; those of another job are discarded. The output is
put together from all parts, and takes the place of a former one in one move.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from finetuning.digests import write_atomically
from finetuning.errors import Fault, InputError
from finetuning.table_streams import DELIMITERS, PARQUET, Row, read_columns

if TYPE_CHECKING:
    import pyarrow

ENDINGS = (".csv", ".jsonl", PARQUET)
JOB = "job.json"
MODEL, FAULT = "model", "fault"  # what every row has beside its answer
PREFIX = "predicted_"
_DIGEST = b"tunesmith.rows"


@dataclass(frozen=True)
class Layout:
    """The columns of an output.

    kept: the input's. answers: of the model, name -> string, double or long. written: answers,
    model and fault -> their names in the output.
    """

    kept: tuple[str, ...]
    answers: Mapping[str, str]
    written: Mapping[str, str]

    @property
    def schema(self) -> pyarrow.Schema:
        """As parquet's columns."""
        import pyarrow

        types = {
            "string": pyarrow.string(), "double": pyarrow.float64(), "long": pyarrow.int64(),
        }  # fmt: skip
        own = {**self.answers, MODEL: "string", FAULT: "string"}
        fields = [(name, pyarrow.string()) for name in self.kept]
        fields += [(self.written[name], types[kind]) for name, kind in own.items()]
        return pyarrow.schema(fields)


def lay_out(kept: tuple[str, ...], answers: Mapping[str, str], key: str) -> Layout:
    """Where each column of an output goes: what the input has already gets a prefix.

    Raises:
        InputError: The input has the prefixed name, too.
    """
    own = (*answers, MODEL, FAULT)
    written = {name: PREFIX + name if name in kept else name for name in own}
    twice = [name for name in written.values() if name in kept]
    if twice:
        remedy = "Predictions go there, as the names without the prefix are taken: rename it."
        raise InputError([Fault(key, f"the column {name!r}", remedy) for name in twice])
    return Layout(kept, dict(answers), written)


def check_output(output: Path, source: Path, key: str) -> list[Fault]:
    """What speaks against writing there: nothing but a former output is ever replaced."""
    if output.suffix.lower() not in ENDINGS:
        return [Fault(key, repr(output.name), f"Give a file that ends with {', '.join(ENDINGS)}.")]
    if not output.absolute().parent.is_dir():
        return [Fault(key, str(output), f"There is no folder {output.parent}: make it first.")]
    if source.is_dir() and source.resolve() in output.resolve().parents:
        return [Fault(key, str(output), "It lies in the folder of images: write it elsewhere.")]
    if output.exists() and not _is_output(output):
        remedy = (
            "It is there already and holds no predictions: give another name, or delete it first."
        )
        return [Fault(key, str(output), remedy)]
    if output.exists() and source.exists() and output.samefile(source):
        return [Fault(key, str(output), "It is the input: give another name.")]
    return []


def _is_output(path: Path) -> bool:
    try:
        columns = set(read_columns(path, ""))
    except (InputError, OSError):
        return False
    return all({name, PREFIX + name} & columns for name in (MODEL, FAULT))


@dataclass(frozen=True)
class Parts:
    """A folder of the parts of one output."""

    folder: Path
    layout: Layout

    def has(self, number: int, digest: str) -> bool:
        """Whether a part is there, whole, and answers the rows of this digest."""
        import pyarrow
        import pyarrow.parquet

        try:
            with pyarrow.parquet.ParquetFile(self._place(number)) as file:
                metadata = file.schema_arrow.metadata or {}
                return bool(metadata.get(_DIGEST) == digest.encode())
        except (pyarrow.ArrowException, OSError, ValueError):
            return False

    def keep(self, number: int, digest: str, rows: list[Row], predicted: list[list[Any]]) -> None:
        """Write a part.

        Args:
            number: Which, from 0.
            digest: Of its rows.
            rows: The input's.
            predicted: Of each row the answers, the model and the fault.
        """
        import pyarrow
        import pyarrow.parquet

        schema = self.layout.schema.with_metadata({_DIGEST: digest.encode()})
        whole = [[*row, *own] for row, own in zip(rows, predicted, strict=True)]
        columns = zip(*whole, strict=True)
        arrays = [
            pyarrow.array(column, field.type) for column, field in zip(columns, schema, strict=True)
        ]
        table = pyarrow.Table.from_arrays(arrays, schema=schema)
        sink = pyarrow.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        write_atomically(self._place(number), sink.getvalue().to_pybytes())

    def read(self, number: int) -> pyarrow.Table:
        """A part that is there."""
        import pyarrow.parquet

        table = pyarrow.parquet.read_table(self._place(number))
        return table.replace_schema_metadata(None)

    def finish(self, output: Path, tables: Iterator[pyarrow.Table]) -> None:
        """Put an output together, move it into its place, and remove the parts."""
        made = self.folder / f"output{output.suffix.lower()}"
        _WRITERS[output.suffix.lower()](made, self.layout.schema, tables)
        made.replace(output)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _place(self, number: int) -> Path:
        return self.folder / f"{number:08d}.parquet"


def open_parts(output: Path, layout: Layout, job: Mapping[str, Any]) -> Parts:
    """The parts of an output; those of another job are discarded.

    Args:
        output: Where the output will be.
        layout: Its columns.
        job: Whatever the parts depend on beside their rows, as JSON.
    """
    folder = output.with_name(f".{output.name}.parts")
    try:
        same = json.loads((folder / JOB).read_text("utf-8")) == job
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        write_atomically(folder / JOB, json.dumps(job, indent=1))
    return Parts(folder, layout)


def _write_csv(path: Path, schema: pyarrow.Schema, tables: Iterator[pyarrow.Table]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=DELIMITERS[".csv"], lineterminator="\n")
        writer.writerow(schema.names)
        for table in tables:
            writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        _settle(file)


def _write_jsonl(path: Path, schema: pyarrow.Schema, tables: Iterator[pyarrow.Table]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for table in tables:
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                record = dict(zip(schema.names, row, strict=True))
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        _settle(file)


def _write_parquet(path: Path, schema: pyarrow.Schema, tables: Iterator[pyarrow.Table]) -> None:
    import pyarrow.parquet

    with path.open("wb") as file:
        with pyarrow.parquet.ParquetWriter(file, schema) as writer:
            for table in tables:
                writer.write_table(table)
        _settle(file)


def _settle(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


_WRITERS = {".csv": _write_csv, ".jsonl": _write_jsonl, PARQUET: _write_parquet}
