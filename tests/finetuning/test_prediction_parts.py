"""Parts of an output: kept whole, discarded with their job, put together in any format."""

import csv
import json

import pyarrow.parquet
import pytest

from finetuning.errors import InputError
from finetuning.prediction_parts import check_output, lay_out, open_parts
from finetuning.tables import read_cells

ANSWERS = {"label": "string", "score": "double", "tokens": "long"}
ROWS = [["=1+1"], [None], ['a, "b"\n']]
PREDICTED = [["x", 0.1, 3, "m/1", None], [None, None, None, "m/1", "empty"],
             ["ü", 1e-9, 0, "m/1", None]]  # fmt: skip


def begin(folder, name="out.csv", job=None):
    """Parts of an output of one text column."""
    return open_parts(folder / name, lay_out(("text",), ANSWERS, "--input"), job or {"a": 1})


def fill(parts):
    """Two parts, of two rows and one."""
    parts.keep(0, "d0", ROWS[:2], PREDICTED[:2])
    parts.keep(1, "d1", ROWS[2:], PREDICTED[2:])


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_output_holds_every_cell(tmp_path, ending):
    """Read back: the input's cells as they were, numbers to the last bit, nothing where None."""
    output = tmp_path / f"out.{ending}"
    parts = begin(tmp_path, output.name)
    fill(parts)
    parts.finish(output, map(parts.read, range(2)))
    names = ["text", "label", "score", "tokens", "model", "fault"]
    whole = [[*row, *own] for row, own in zip(ROWS, PREDICTED, strict=True)]
    if ending == "parquet":
        table = pyarrow.parquet.read_table(output)
        assert table.column_names == names
        assert [list(row.values()) for row in table.to_pylist()] == whole
    elif ending == "jsonl":
        lines = output.read_text("utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [
            dict(zip(names, row, strict=True)) for row in whole
        ]
    else:
        with output.open(encoding="utf-8", newline="") as file:
            read = list(csv.reader(file))
        assert read == [
            names,
            *([("" if one is None else str(one)) for one in row] for row in whole),
        ]
    assert read_cells(output, "")[0] == names
    assert list(tmp_path.iterdir()) == [output]


def test_a_part_counts_only_for_its_rows_and_while_it_is_whole(tmp_path):
    """Another digest, a number that is not there, and a damaged file are none."""
    parts = begin(tmp_path)
    fill(parts)
    assert parts.has(0, "d0")
    assert not parts.has(0, "d1")
    assert not parts.has(2, "d0")
    place = parts.folder / "00000000.parquet"
    place.write_bytes(place.read_bytes()[:-20])
    assert not parts.has(0, "d0")


def test_parts_of_another_job_are_discarded(tmp_path):
    """The same job finds them; another one does not, nor does the first one afterwards."""
    fill(begin(tmp_path))
    assert begin(tmp_path).has(1, "d1")
    assert not begin(tmp_path, job={"a": 2}).has(1, "d1")
    assert not begin(tmp_path).has(1, "d1")


def test_names_that_the_input_has_get_a_prefix():
    """One is enough; where that is taken too, the input is wrong."""
    layout = lay_out(("label", "text"), ANSWERS, "--input")
    assert layout.schema.names == [
        "label", "text", "predicted_label", "score", "tokens", "model", "fault",
    ]  # fmt: skip
    with pytest.raises(InputError, match="predicted_label"):
        lay_out(("label", "predicted_label"), ANSWERS, "--input")


def test_nothing_but_former_predictions_is_replaced(tmp_path):
    """A table of something else, the input itself, a missing folder, another ending."""
    source = tmp_path / "in.csv"
    source.write_text("text\na\n")
    assert len(check_output(source, source, "--output")) == 1
    assert len(check_output(tmp_path / "none" / "a.csv", source, "--output")) == 1
    assert len(check_output(tmp_path / "a.xlsx", source, "--output")) == 1
    assert len(check_output(tmp_path / "new.csv", tmp_path, "--output")) == 1
    parts = begin(tmp_path)
    fill(parts)
    output = tmp_path / "out.csv"
    parts.finish(output, map(parts.read, range(2)))
    assert check_output(output, source, "--output") == []
    assert "is the input" in check_output(output, output, "--output")[0].remedy
