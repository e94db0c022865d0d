"""Tables of any content: rows of text or faults, the same whole as some at a time."""

import csv
import io
import json

import pyarrow
import pyarrow.parquet
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from finetuning.config import Columns, Data
from finetuning.errors import InputError
from finetuning.snapshots import take_snapshot
from finetuning.streams import find_source
from finetuning.tables import read_cells
from flows.beginning import look
from tasks.validation import validate_rows
from tests.fuzzing.survival import survive
from tests.fuzzing.values import CELLS, ENCODINGS, FORMULAS, JSON, NAMES, encoded, splice

PROBLEMS = ("text-classification", "question-answering", "causal-lm", "image-classification")
ROWS = st.lists(st.lists(CELLS, min_size=1, max_size=4), min_size=1, max_size=8)
SOUND = [
    b"text,label\ngood film,pro\nbad film,con\n\"a, \"\"b\"\"\nc\",pro\n",
    b"text\tlabel\ngood film\tpro\nbad film\tcon\n",
    b'{"text": "good film", "label": "pro"}\n{"text": ["bad", {"a": 1}], "label": null}\n',
    "text,label\nünï ☃ 🎉,pro\n".encode("utf-16"),
]  # fmt: skip


def read_whole(path):
    """The rows, or None where the table is refused."""
    try:
        return read_cells(path, "data.train")
    except InputError:
        return None


def read_in_parts(path):
    """The same by what `predict` reads."""
    try:
        source = find_source(path, "--input")
        return list(source.columns), [row for part in source.cut(3) for row in part]
    except InputError:
        return None


def read_all_ways(folder, name, content):
    """Read a table as each command does; the two readers must agree."""
    path = folder / name
    path.write_bytes(content)
    assert read_whole(path) == read_in_parts(path)
    for problem in PROBLEMS:
        data = Data(path="data/x", train=name)
        try:
            rows = take_snapshot(folder, data, problem)
        except InputError:
            continue
        assert set(rows["split"]) <= {"train", "validation", "test", "left-out"}
    return look("x", path)


def delimited(rows, delimiter, end):
    """A csv or tsv file's text."""
    file = io.StringIO()
    csv.writer(file, delimiter=delimiter, lineterminator=end).writerows(rows)
    return file.getvalue()


@given(
    content=st.binary(max_size=200) | encoded(st.text(max_size=200)),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.txt", "a.json"]),
)
def test_any_bytes_are_a_table_or_a_fault(tmp_path, content, name):
    """Whatever the file holds and whatever it is called."""
    survive(read_all_ways, tmp_path, name, content)


@given(data=st.data(), name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
def test_a_damaged_table_is_a_table_or_a_fault(tmp_path, data, name):
    """Cut, doubled and mixed."""
    survive(read_all_ways, tmp_path, name, data.draw(splice(SOUND)))


@given(
    header=st.lists(NAMES, min_size=1, max_size=4),
    rows=ROWS,
    encoding=st.sampled_from(ENCODINGS),
    kind=st.sampled_from([("a.csv", ","), ("a.tsv", "\t")]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_any_cells_are_rows_or_a_fault(tmp_path, header, rows, encoding, kind, end):
    """Formulas, nulls, odd spaces, in any encoding, with any header."""
    name, delimiter = kind
    square = [(row * 4)[: len(header)] for row in rows]
    content = delimited([header, *square], delimiter, end).encode(encoding, "ignore")
    survive(read_all_ways, tmp_path, name, content)


@given(cell=st.sampled_from(FORMULAS), other=st.text("ab", min_size=1, max_size=3))
@settings(max_examples=10)
def test_a_formula_stays_text(tmp_path, cell, other):
    """It is neither computed nor changed."""
    (tmp_path / "a.csv").write_text(delimited([["text"], [cell], [other]], ",", "\n"))
    columns, rows = survive(read_cells, tmp_path / "a.csv", "data.train")
    assert (columns, rows) == (["text"], [[cell], [other]])


@given(records=st.lists(st.dictionaries(NAMES, JSON, max_size=4) | JSON, max_size=6))
def test_any_json_lines_are_rows_or_a_fault(tmp_path, records):
    """Nested values, numbers without end, names twice."""
    lines = [json.dumps(record, default=str) for record in records]
    survive(read_all_ways, tmp_path, "a.jsonl", "\n".join(lines).encode())


def make_parquet(columns):
    """A parquet file of columns whose types Arrow finds; None where there is no such type."""
    size = max(len(values) for _, values in columns)
    file = io.BytesIO()
    try:
        arrays = [pyarrow.array((values * size)[:size]) for _, values in columns]
        table = pyarrow.Table.from_arrays(arrays, [name for name, _ in columns])
        pyarrow.parquet.write_table(table, file, row_group_size=3)
    except (pyarrow.ArrowException, UnicodeEncodeError, OverflowError, TypeError):
        return None
    return file.getvalue()


TYPED = st.one_of(
    *(
        st.lists(st.none() | one, min_size=1, max_size=6)
        for one in (
            CELLS, st.integers(-(2**63), 2**63 - 1), st.floats(), st.booleans(),
            st.binary(max_size=9), st.dates(), st.datetimes(), st.times(),
            st.timedeltas(), st.decimals(),
            st.lists(CELLS, max_size=3), st.lists(st.lists(st.integers(0, 9))),
            st.fixed_dictionaries({"text": st.lists(CELLS, max_size=2)}),
        )
    )
)  # fmt: skip


@given(columns=st.lists(st.tuples(NAMES, TYPED), min_size=1, max_size=3), data=st.data())
def test_any_parquet_is_rows_or_a_fault(tmp_path, columns, data):
    """Columns of every type, nested too; whole, and with bytes that were changed."""
    content = make_parquet(columns)
    assume(content is not None)
    if data.draw(st.booleans()):
        content = data.draw(splice([content]))
    survive(read_all_ways, tmp_path, "a.parquet", content)


@given(rows=ROWS, labels=st.lists(CELLS, min_size=1, max_size=3))
@settings(max_examples=max(5, settings.default.max_examples // 20))
def test_any_rows_are_validated(tmp_path, rows, labels):
    """Great Expectations reports what is wrong with them; nothing raises."""
    table = [["text", "label"]] + [
        [row[0], labels[number % len(labels)]] for number, row in enumerate(rows)
    ]
    (tmp_path / "a.csv").write_bytes(delimited(table, ",", "\n").encode("utf-8", "ignore"))
    data = Data(path="data/x", train="a.csv", columns=Columns())
    rows = survive(take_snapshot, tmp_path, data)
    if rows is not None:
        assert survive(validate_rows, rows, data) is not None
