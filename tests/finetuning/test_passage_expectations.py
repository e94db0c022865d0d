"""What is expected of texts without labels: as data, and the columns that are looked at."""

import re

import pandas
import pytest

from finetuning.config import Columns, Data
from finetuning.passage_expectations import list_expectations, prepare
from finetuning.passages import measure

PROMPTED = {"prompt": "prompt", "completion": "completion"}
REPEATED, SPLIT_ROWS = "tunesmith.repeated", "tunesmith.rows of split"


def snapshot(columns, *rows):
    """Rows of (split, cells) as the snapshot hands them on."""
    names = ["text"] if columns.completion is None else ["prompt", "completion"]
    table = pandas.DataFrame([cells for _, *cells in rows], columns=names, dtype=object)
    found = measure(None, table, columns)
    table.insert(0, "split", [split for split, *_ in rows])
    return table.assign(key=found["key"])


def flagged(values):
    """The positions of the rows about which a helper column says something."""
    return list(values.index[values.notna()])


def find(data, word):
    """The expectations whose name holds a word, by name."""
    return {spec.name: spec for spec in list_expectations(data) if word in spec.name}


def test_prepare_leaves_rows_alone():
    """Preparation only adds columns, all of them the project's own."""
    rows = snapshot(Columns(), ("train", "good"), ("test", " "))
    before = rows.copy(deep=True)
    result = prepare(rows, Columns())
    pandas.testing.assert_frame_equal(rows, before)
    assert all(name.startswith("tunesmith.") for name in set(result) - set(rows))
    assert flagged(result["tunesmith.filled text"]) == [0]


def test_repeated_texts():
    """The second of a text in its split counts, however it is spaced; blank ones do not."""
    rows = snapshot(
        Columns(), ("train", "Good  day"), ("train", "good day"), ("test", "good day"),
        ("train", " "), ("train", None),
    )  # fmt: skip
    assert flagged(prepare(rows, Columns())[REPEATED]) == [1]


def test_repeated_pairs():
    """Another completion of the same prompt is no repeat."""
    columns = Columns.model_validate(PROMPTED)
    rows = snapshot(
        columns, ("train", "q", "yes"), ("train", "q", "no"), ("train", "q", "yes")
    )  # fmt: skip
    result = prepare(rows, columns)
    assert flagged(result[REPEATED]) == [2]
    assert {"tunesmith.filled prompt", "tunesmith.filled completion"} <= set(result)


def test_rows_of_splits():
    """Each row knows how many there are in its split."""
    rows = snapshot(Columns(), ("train", "a"), ("train", "b"), ("test", "c"))
    assert list(prepare(rows, Columns())[SPLIT_ROWS]) == [2, 2, 1]


def test_names_are_unique_and_said_with_remedy():
    """Every expectation has its own name, a column, and says what helps."""
    for columns in ({}, PROMPTED):
        specs = list_expectations(Data.model_validate({"path": "data/x", "columns": columns}))
        names = [spec.name for spec in specs]
        assert len(set(names)) == len(names)
        assert all(spec.remedy.endswith(".") and spec.column for spec in specs)


def test_both_columns_of_a_pair_are_held_to_the_same():
    """A prompt and a completion have the expectations of a text each."""
    one, two = (
        list_expectations(Data.model_validate({"path": "data/x", "columns": columns}))
        for columns in ({}, PROMPTED)
    )
    own = sum(spec.column == "prompt" for spec in two)
    assert own == 8
    assert len(two) == len(one) + own
    assert not any(spec.column == "text" for spec in two)


@pytest.mark.parametrize(
    ("word", "bad", "good"),
    [
        ("broken encoding", ["caf\u00c3\u00a9", "lost \ufffd"], ["caf\u00e9", "\u0007"]),
        ("control", ["bell \x07", "nul \x00", "c1 \x85"], ["a\tb\r\nc", "\ufffd"]),
        ("HTML", ["a &amp; b"], ["AT&T"]),
    ],
)
def test_damage_is_told_apart(word, bad, good):
    """Damaged encoding, control characters and escapes are warned of one by one."""
    (spec,) = find(Data(path="data/x"), word).values()
    assert spec.severity == "warning"
    assert all(re.search(spec.arguments["regex"], text) for text in bad)
    assert not any(re.search(spec.arguments["regex"], text) for text in good)


def test_what_stops_a_run():
    """Blank, endless, missing and many repeated rows do; the rest is reported."""
    specs = list_expectations(Data(path="data/x"))
    assert [spec.name for spec in specs if spec.severity == "critical"] == [
        "text is neither null nor blank, in at least 99% of the rows",
        "text has at most 1,000,000 characters, in at least 99% of the rows",
        "train, validation and test have rows",
        "every split has at least 2 rows",
        "no text stands twice in a split, in at least 90% of the rows",
    ]
