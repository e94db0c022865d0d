"""Tables: every value is the text that stands in the file, or the fault is named."""

import csv
import datetime
import io
import json

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from finetuning.cells import check_columns
from finetuning.errors import InputError
from finetuning.tables import normalise, read_cells, read_table


def read(folder, name, content):
    """A file of this name and content, read as rows of a dictionary each."""
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path).to_dict("records")


def fault_of(folder, name, content):
    """The one fault of such a file."""
    with pytest.raises(InputError) as caught:
        read(folder, name, content)
    (fault,) = caught.value.faults
    assert fault.key == "data.train"
    assert name in fault.found
    return fault


def write_parquet(folder, **columns):
    """A parquet file of these columns."""
    pyarrow.parquet.write_table(pyarrow.table(columns), folder / "a.parquet")
    return folder / "a.parquet"


@pytest.mark.parametrize(("name", "delimiter"), [("a.csv", ","), ("a.tsv", "\t"), ("A.CSV", ",")])
def test_delimited_cells_are_text(tmp_path, name, delimiter):
    """No guess: NA, null, 007, 1e5 and spaces stay; an empty cell is None."""
    cells = ["ünï ☃ 🎉", "NA", "null", "nan", "007", "1e5", " x ", "", "True"]
    content = "".join(f"{cell}{delimiter}y\n" for cell in ["text", *cells])
    rows = read(tmp_path, name, content)
    assert [row["text"] for row in rows] == [cell or None for cell in cells]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_endings_and_quotes(tmp_path, end):
    """Quoted cells may hold delimiters, quotes, line breaks; U+2028 and the like cut nothing."""
    content = end.join(["text,label", '"a, ""b""\n\r\nc",x', "d\u2028e\x85f\x0bg\x1c,y", ""])
    assert read(tmp_path, "a.csv", content) == [
        {"text": 'a, "b"\n\r\nc', "label": "x"},
        {"text": "d\u2028e\x85f\x0bg\x1c", "label": "y"},
    ]


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path):
    """Excel writes one; a second one is text."""
    assert list(read(tmp_path, "a.csv", b"\xef\xbb\xbftext\n\xef\xbb\xbfx\n")[0].items()) == [
        ("text", "\ufeffx")
    ]
    assert read(tmp_path, "a.jsonl", b'\xef\xbb\xbf{"text": "x"}\n') == [{"text": "x"}]


def test_blank_lines_are_no_rows(tmp_path):
    """Not before the header, between rows, or at the end; a row of empty cells is one."""
    rows = read(tmp_path, "a.csv", "\n\ntext,label\n\na,b\n,\n\n")
    assert rows == [{"text": "a", "label": "b"}, {"text": None, "label": None}]


def test_a_quote_that_is_never_closed_is_a_fault(tmp_path):
    """It would swallow every row after it without a word; the row that begins it is named."""
    fault = fault_of(tmp_path, "a.csv", 'label,text\nx,fine\ny,"good\nx,bad\ny,ugly\n')
    assert "line 3" in fault.found
    assert "Unexpected end of data" in fault.remedy


def test_text_after_a_closing_quote_is_a_fault(tmp_path):
    """Reading on would lose the quotes."""
    assert "line 2" in fault_of(tmp_path, "a.tsv", 'text\tlabel\n"Great" film\tx\n').found


def test_ragged_rows_are_counted_and_the_first_is_named(tmp_path):
    """Rows two and three of four, by too few and too many cells."""
    fault = fault_of(tmp_path, "a.csv", "text,label\na,b\nc\nd,e,f\ng,h\n")
    assert "2 rows without 2 cells, first row 2" in fault.found


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "text,label\na\0,b\n", "null bytes"),
        ("a.csv", "text\nx\n".encode("utf-16-le"), "null bytes"),
        ("a.csv", "text\nx\n".encode("utf-16"), "not UTF-8"),
        ("a.csv", "", "empty"),
        ("a.csv", "\n\n", "empty"),
        ("a.csv", "text,label\n", "no rows"),
        ("a.csv", "text,label,text\na,b,c\n", "once"),
        ("a.csv", "text\n" + "x" * 10_000_001, "Field larger than field limit"),
        ("a.jsonl", "", "no rows"),
        ("a.jsonl", '{"text": "a"}\n{"text": \n', "Not JSON"),
        ("a.jsonl", '{"text": "a"}\n["b"]\n', "object a line"),
        ("a.jsonl", '{"text": "\\ud800"}\n', "Not JSON"),
        ("a.jsonl", '{"text": ' + "[" * 100_000, "Not JSON"),
        ("a.jsonl", '{"text": ' + "9" * 5000 + "}", "Not JSON"),
        ("a.jsonl", b'{"text": "\xe4"}\n', "not UTF-8"),
        ("a.parquet", b"", "cannot be read as parquet"),
        ("a.parquet", b"PAR1 and then nothing PAR1", "cannot be read as parquet"),
        ("a.xlsx", b"PK", "ends with .csv"),
    ],
)
def test_what_is_no_table_is_one_fault(tmp_path, name, content, said):
    """Every unreadable file is the user's input, with the pipeline key that named it."""
    fault = fault_of(tmp_path, name, content)
    assert said in fault.remedy


def test_latin1_is_named_by_line_and_byte(tmp_path):
    """The ä of the third line, and how to convert the file."""
    fault = fault_of(tmp_path, "a.csv", "text\nok\nb\xe4r\n".encode("latin-1"))
    assert "line 3: byte 0xe4" in fault.found
    assert "iconv" in fault.remedy


def test_a_missing_file_says_what_is_there(tmp_path):
    """The tables beside it are listed; other files are not."""
    (tmp_path / "rows.csv").write_text("")
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(InputError, match=r"It holds rows\.csv\.") as caught:
        read_table(tmp_path / "train.csv", "data.test")
    assert caught.value.faults[0].key == "data.test"
    (tmp_path / "rows.csv").unlink()
    with pytest.raises(InputError, match="holds no table"):
        read_table(tmp_path / "train.csv")


def test_jsonl_values_become_text(tmp_path):
    """Numbers and truth values as JSON writes them, nested ones as JSON, null and NaN as None."""
    record = {
        "a": 1, "b": 1.5, "c": True, "d": None, "e": "", "f": {"x": ["ü"]}, "g": [1, None],
        "h": "NA", "i": float("nan"), "j": "line\nbreak\u2028",
    }  # fmt: skip
    (row,) = read(tmp_path, "a.jsonl", json.dumps(record, ensure_ascii=False) + "\r\n\n")
    assert row == {
        "a": "1", "b": "1.5", "c": "true", "d": None, "e": None, "f": '{"x": ["ü"]}',
        "g": "[1, null]", "h": "NA", "i": None, "j": "line\nbreak\u2028",
    }  # fmt: skip


def test_jsonl_keys_may_differ(tmp_path):
    """Columns in order of their first appearance; what a record lacks is None."""
    rows = read(tmp_path, "a.jsonl", '{"b": "1"}\n{"a": "2", "b": "3"}\n')
    assert [list(row.items()) for row in rows] == [
        [("b", "1"), ("a", None)], [("b", "3"), ("a", "2")],
    ]  # fmt: skip


def test_parquet_values_become_text(tmp_path):
    """Text, numbers, dates, bytes and lists, as JSON would have them."""
    path = write_parquet(
        tmp_path,
        text=["ünï", "NA", "", None],
        number=[1, 2, None, 4],
        share=[0.5, float("nan"), None, 1.0],
        day=[datetime.date(2026, 1, 2)] + [None] * 3,
        raw=[b"abc", b"\xff", b"", None],
        many=[["a"], [], None, ["b", None]],
    )
    assert read_table(path).to_numpy().tolist() == [
        ["ünï", "1", "0.5", "2026-01-02", "abc", '["a"]'],
        ["NA", "2", None, None, "\ufffd", "[]"],
        [None, None, None, None, "", None],
        [None, "4", "1.0", None, None, '["b", null]'],
    ]


def test_a_parquet_date_beyond_the_calendar_is_a_fault(tmp_path):
    """Ten million days after 1970 is no Python date."""
    path = write_parquet(tmp_path, text=pyarrow.array([10**7], pyarrow.date32()))
    with pytest.raises(InputError, match="cannot be read as parquet"):
        read_table(path)


def test_a_parquet_column_twice_is_a_fault(tmp_path):
    """Parquet allows it; which one was meant is unknown."""
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"])] * 2, names=["text", "text"])
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(InputError, match="text"):
        read_table(tmp_path / "a.parquet")


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
property_test = settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@property_test
@given(
    rows=st.lists(st.tuples(CELLS, CELLS | st.text("\",\n\r\t '\\", max_size=5)), min_size=1),
    end=st.sampled_from(["\n", "\r\n"]),
    kind=st.sampled_from([("a.csv", ","), ("a.tsv", "\t")]),
)
def test_any_text_survives_the_csv_writer(tmp_path, rows, end, kind):
    """What Python's writer writes is read back cell by cell."""
    file = io.StringIO(newline="")
    writer = csv.writer(file, delimiter=kind[1], lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerows([("text", "label"), *rows])
    got = read(tmp_path, kind[0], file.getvalue())
    assert got == [{"text": text or None, "label": label or None} for text, label in rows]


@property_test
@given(content=st.binary(max_size=40), name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
def test_random_bytes_are_a_table_or_an_input_error(tmp_path, content, name):
    """Nothing else is ever raised, and every value is text or None."""
    try:
        rows = read(tmp_path, name, content)
    except InputError:
        return
    assert all(value is None or isinstance(value, str) for row in rows for value in row.values())


def test_normalise_ignores_case_white_space_and_forms():
    """Full-width letters, ligatures, sharp s and non-breaking spaces count as their plain forms."""
    assert normalise("  Straße\u00a0\n ﬁne \uff21\uff22\uff23") == "strasse fine abc"
    assert normalise("e\u0301") == normalise("é")


def test_check_columns_lists_each_missing_one(tmp_path):
    """One fault for each key, naming what the table has."""
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    columns, _ = read_cells(tmp_path / "a.csv", "data.train")
    wanted = {"data.columns.text": "a", "data.columns.label": "x", "data.slices[0]": "y"}
    errors = check_columns(columns, wanted, "a.csv")
    assert [str(error) for error in errors] == [
        "data.columns.label: found 'x'. a.csv has the columns a, b.",
        "data.slices[0]: found 'y'. a.csv has the columns a, b.",
    ]
