"""Streams: the rows of `read_cells`, some at a time, and the same faults at the beginning."""

import json

import pyarrow
import pyarrow.parquet
import pytest

from finetuning.errors import InputError, TunesmithError
from finetuning.streams import digest_rows, find_source, list_images
from finetuning.table_streams import read_columns
from finetuning.tables import read_cells

CELLS = ["ünï ☃ 🎉", "NA", "007", " x ", "", '=1+1, "q"\n\r\nz', "d\u2028e\x85f\x0bg"]


def write(folder, ending, cells):
    """A table of two columns in one of the formats."""
    path = folder / f"a.{ending}"
    if ending == "parquet":
        columns = {"n": list(range(len(cells))), "text": cells}
        pyarrow.parquet.write_table(pyarrow.table(columns), path)
    elif ending == "jsonl":
        lines = [json.dumps({"n": n, "text": cell}) for n, cell in enumerate(cells)]
        path.write_bytes("\n".join([*lines, "", '{"late": [1]}']).encode())
    else:
        delimiter = {"csv": ",", "tsv": "\t"}[ending]
        quoted = ['"' + cell.replace('"', '""') + '"' for cell in cells]
        rows = [f"{n}{delimiter}{cell}" for n, cell in enumerate(quoted)]
        path.write_bytes(
            b"\xef\xbb\xbf" + "\r\n".join([f"n{delimiter}text", *rows, "", ""]).encode()
        )
    return path


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_rows_are_those_of_a_table_that_is_read_whole(tmp_path, ending):
    """Columns, texts, empty cells and their order; whatever the chunks are."""
    path = write(tmp_path, ending, CELLS)
    columns, values = read_cells(path, "data.train")
    source = find_source(path, "--input")
    assert (list(source.columns), source.rows) == (columns, len(values))
    assert set(read_columns(path, "--input")) <= set(columns)
    for size in (1, 3, 100):
        chunks = list(source.cut(size))
        assert [row for chunk in chunks for row in chunk] == values
        assert max(map(len, chunks)) <= size


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,label\na\0,b\n"),
        ("a.csv", b"text\nfine\nb\xe4d\n"),
        ("a.csv", "text\nx\n".encode("utf-16")),
        ("a.csv", b"text,label\na,b\nc\nd,e,f\n"),
        ("a.csv", b'text\na\n"b\n'),
        ("a.csv", b"text,text\na,b\n"),
        ("a.csv", b""),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n'),
        ("a.jsonl", b'{"text": "a"}\n["b"]\n'),
        ("a.jsonl", b'{"text": "\xe4"}\n'),
        ("a.xlsx", b"PK"),
    ],
)
def test_faults_are_those_of_a_table_that_is_read_whole(tmp_path, name, content):
    """In the same words, before any row is given."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError) as whole:
        read_cells(path, "--input")
    with pytest.raises(InputError) as streamed:
        find_source(path, "--input")
    assert streamed.value.faults == whole.value.faults


def test_damaged_parquet_is_a_fault(tmp_path):
    """In pyarrow's words, without a traceback."""
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and then nothing PAR1")
    with pytest.raises(InputError, match="cannot be read as parquet"):
        find_source(tmp_path / "a.parquet", "--input")


def test_a_table_without_rows_and_a_folder_for_a_text_model_are_faults(tmp_path):
    """There is nothing to predict, or nothing that the model reads."""
    (tmp_path / "a.csv").write_text("text\n")
    with pytest.raises(InputError, match="nothing to predict"):
        find_source(tmp_path / "a.csv", "--input")
    with pytest.raises(InputError, match="reads a table"):
        find_source(tmp_path, "--input")


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_no_more_rows_are_read_than_a_chunk_holds(tmp_path, ending, monkeypatch):
    """Counted: when a chunk is given, no row after it has been taken from the file."""
    source = find_source(write(tmp_path, ending, ["x"] * 5000), "--input")
    taken = 0

    def count(rows):
        nonlocal taken
        for row in rows:
            taken += 1
            yield row

    read = type(source).read
    monkeypatch.setattr(type(source), "read", lambda self: count(read(self)))
    for number, chunk in enumerate(source.cut(100), 1):
        assert len(chunk) <= 100
        assert taken == min(100 * number, source.rows)


def test_long_texts_end_a_chunk_early(tmp_path):
    """Forty characters each, a hundred at most: three rows."""
    source = find_source(write(tmp_path, "csv", ["y" * 40] * 7), "--input")
    assert [len(chunk) for chunk in source.cut(100, characters=100)] == [3, 3, 1]


def test_a_source_that_changes_while_it_is_read_is_refused(tmp_path):
    """Rows of two states of a file would stand in one output."""
    path = write(tmp_path, "csv", ["x"] * 4)
    source = find_source(path, "--input")
    chunks = source.cut(2)
    next(chunks)
    path.write_text("n,text\n1,other\n2,rows\n")
    with pytest.raises(TunesmithError, match="was changed"):
        list(chunks)


def test_images_are_listed_in_order_without_hidden_ones(tmp_path):
    """Folders in folders, sorted; what file managers leave is none, and no link is followed."""
    for name in ("b/2.png", "b/1.png", "a.png", ".hidden/x.png", "b/.y.png", "Thumbs.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b" / "round").symlink_to(tmp_path)
    assert list(list_images(tmp_path)) == ["a.png", "b/1.png", "b/2.png"]
    source = find_source(tmp_path, "--input", "image")
    assert (source.columns, source.rows, source.folder) == (("image",), 3, tmp_path)


def test_digest_knows_columns_cells_and_files_beside():
    """Each of the three changes it; None is not the empty text."""
    digests = {
        digest_rows(("a",), [["x"]], {}),
        digest_rows(("b",), [["x"]], {}),
        digest_rows(("a",), [[""]], {}),
        digest_rows(("a",), [[None]], {}),
        digest_rows(("a",), [["x"]], {"x": "1:2"}),
    }
    assert len(digests) == 5
