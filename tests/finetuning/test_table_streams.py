"""Rows of a table one by one; that they are those of a table read whole: test_streams."""

import pytest

from finetuning.errors import InputError
from finetuning.table_streams import open_table


def test_the_rows_can_be_gone_through_again(tmp_path):
    """Each time from the first on; empty cells are None."""
    path = tmp_path / "train.csv"
    path.write_text("text,label\na,\nb,c\n")
    columns, rows = open_table(path, "data.train")
    assert columns == ["text", "label"]
    assert list(rows) == list(rows) == [["a", None], ["b", "c"]]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("train.csv", "text,label\n", "The table has no rows"),
        ("train.csv", "text,label\na,b,c\n", "1 rows without 2 cells, first row 1"),
        ("train.jsonl", "[]\n", "line 1"),
    ],
)
def test_what_is_wrong_is_said_before_a_row_is_read(tmp_path, name, content, words):
    """By the pipeline file's key."""
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=words) as caught:
        open_table(tmp_path / name, "data.train")
    assert caught.value.faults[0].key == "data.train"
