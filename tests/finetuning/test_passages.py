"""Text files as passages, and which rows are the same."""

import pandas
import pytest

from finetuning.config import Columns, Data
from finetuning.errors import InputError
from finetuning.passages import cut_passages, measure, name_input, name_scored, read
from finetuning.snapshots import take_snapshot

PROMPTED = Columns.model_validate({"prompt": "question", "completion": "reply"})


def test_passages_end_after_blank_lines():
    """Paragraphs are gathered while they fit, with the blank lines that follow them."""
    assert cut_passages("aaaa\n\nbbb\n\n\ncccc\n", 11) == ["aaaa\n\n", "bbb\n\n\ncccc\n"]


def test_passages_make_the_text_again():
    """Nothing but blank passages is lost, wherever the cuts fall, and none is too long."""
    text = "one two\nthree\n\n" + "x" * 50 + "\n \n" + "word " * 30 + "\nend\n" * 20
    for longest in (16, 60, 100):
        passages = cut_passages(text, longest)
        assert "".join(passages).split() == text.split()
        assert max(map(len, passages)) <= longest
    assert "".join(passages) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ab cd\nef gh\n", ["ab cd\n", "ef gh\n"]),
        ("ab cd efgh", ["ab cd", " efgh"]),
        ("abcdefgh", ["abcdef", "gh"]),
    ],
)
def test_long_paragraphs_are_cut_where_it_hurts_least(text, expected):
    """After a line, else a word, else anywhere."""
    assert cut_passages(text, 6) == expected


def test_blank_passages_are_left_out():
    """White space alone is no row."""
    assert cut_passages(" \n\n\n") == []


def test_text_file_is_a_table_of_passages(tmp_path):
    """One column, named as data.columns.text says; Windows' line ends are plain ones."""
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n\r\ntwo\r\n")
    columns = Columns(text="body")
    assert read(tmp_path, "a.txt", "data.train", columns) == (["body"], [["one\n\ntwo\n"]])


def test_table_is_read_as_such(tmp_path):
    """Every column of a csv stays."""
    (tmp_path / "a.csv").write_text("text,source\nhello,web\n", "utf-8")
    columns, rows = read(tmp_path, "a.csv", "data.train", Columns())
    assert (columns, rows) == (["text", "source"], [["hello", "web"]])


@pytest.mark.parametrize(
    ("content", "columns"),
    [(b" \n", Columns()), (b"caf\xe9", Columns()), (b"text", PROMPTED), (None, Columns())],
    ids=["blank", "latin-1", "no columns", "missing"],
)
def test_unreadable_text_file(tmp_path, content, columns):
    """What cannot be read says so with the key that named it."""
    if content is not None:
        (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError) as caught:
        read(tmp_path, "a.txt", "data.train", columns)
    assert [fault.key for fault in caught.value.faults] == ["data.train"]


def test_key_is_of_the_normalised_text(tmp_path):
    """Case and white space do not count."""
    rows = pandas.DataFrame({"text": ["Good  day", "good day\n", "bad day"]})
    keys = list(measure(tmp_path, rows, Columns())["key"])
    assert keys[0] == keys[1] != keys[2]


def test_key_is_of_the_prompt(tmp_path):
    """Completions of one prompt have one key: they stay on one side of a split."""
    rows = pandas.DataFrame({"question": ["q", "q", "r"], "reply": ["a", "b", "a"]})
    keys = list(measure(tmp_path, rows, PROMPTED)["key"])
    assert keys[0] == keys[1] != keys[2]


def test_columns_that_are_read():
    """The text both goes in and is scored; of a prompt and its completion each does one."""
    assert (name_input(Columns()), name_scored(Columns())) == ("text", "text")
    assert (name_input(PROMPTED), name_scored(PROMPTED)) == ("question", "reply")


def test_columns_of_the_prediction_table_are_taken(tmp_path):
    """A slice of the name of what is scored would be overwritten there: it is refused."""
    (tmp_path / "a.csv").write_text("text,words\none,1\ntwo,2\n", "utf-8")
    data = Data(path="data/x", train="a.csv", slices=("words",))
    with pytest.raises(InputError) as caught:
        take_snapshot(tmp_path, data, "causal-lm")
    assert [fault.key for fault in caught.value.faults] == ["data.slices[0]"]


def test_passages_are_split(tmp_path):
    """A text file's passages go to three splits, none to two, each where it stood."""
    text = "\n\n".join(f"paragraph {number} " + "word " * 150 for number in range(60))
    (tmp_path / "a.txt").write_text(text, "utf-8")
    rows = take_snapshot(tmp_path, Data(path="data/x", train="a.txt"), "causal-lm")
    assert set(rows["split"]) == {"train", "validation", "test"}
    assert not rows["key"].duplicated().any()
    assert "".join(rows["text"]) == text
