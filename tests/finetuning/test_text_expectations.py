"""The built-in expectations as data, and the columns that they look at."""

from __future__ import annotations

import re

import pandas
import pytest

from finetuning.class_expectations import CONTRADICTED
from finetuning.config import Columns, Data
from finetuning.expectations import readable
from finetuning.text_expectations import DAMAGE, HTML_ESCAPE, list_expectations, prepare


def table(*rows, columns=("split", "key", "text", "label")):
    """Rows as the snapshot hands them on."""
    frame = pandas.DataFrame(rows, columns=list(columns), dtype=object)
    frame.insert(0, "row", range(1, len(frame) + 1))
    frame.insert(0, "file", "train.csv")
    return frame


def prepared(*rows):
    """The same rows with their helper columns."""
    return prepare(table(*rows), Columns())


def flagged(values):
    """The positions of the rows about which a helper column says something."""
    return list(values.index[values.notna()])


def test_prepare_leaves_rows_alone():
    """Preparation neither changes nor reorders the rows that it is given."""
    rows = table(("train", "a", "good", "pro"), ("test", "b", " ", "con"))
    before = rows.copy(deep=True)
    result = prepare(rows, Columns())
    pandas.testing.assert_frame_equal(rows, before)
    assert list(result["row"]) == [1, 2]
    assert all(name.startswith("tunesmith.") for name in set(result) - set(rows))


def test_blank_counts_as_null():
    """Null, empty and white text (a no-break space too) are all unfilled."""
    result = prepared(
        *[
            ("train", str(number), text, "pro")
            for number, text in enumerate([None, "", "\u00a0\t", "x"])
        ]
    )
    assert flagged(result["tunesmith.filled text"]) == [3]


def test_blank_label_counts_as_null():
    """A label of spaces is no label."""
    result = prepared(("train", "a", "good", "  "), ("train", "b", "bad", "con"))
    assert flagged(result["tunesmith.label"]) == [1]


def test_repeated_rows():
    """Only the second of the same key, label and split counts as repeated."""
    result = prepared(
        ("train", "a", "Good", "pro"),
        ("train", "a", "good", "pro"),
        ("test", "a", "good", "pro"),
        ("train", "a", "good", "con"),
        ("train", None, None, "pro"),
        ("train", None, None, "pro"),
    )
    assert flagged(result["tunesmith.repeated"]) == [1]


def test_contradicted_rows():
    """All rows of a text with two labels are named with those labels, across splits."""
    result = prepared(
        ("train", "a", "Good", "pro"),
        ("test", "a", "good", "con"),
        ("train", "b", "bad", "con"),
        ("train", "b", "bad", "con"),
        ("train", "a", "good", None),
    )
    assert list(result[CONTRADICTED].dropna()) == [
        "[con | pro] Good",
        "[con | pro] good",
        "[con | pro] good",
    ]


def test_class_columns():
    """Rows of a class, its distance from the largest, and splits it is missing from."""
    result = prepared(
        *[("train", f"p{number}", "good", "pro") for number in range(6)],
        *[("train", f"c{number}", "bad", "con") for number in range(2)],
        ("validation", "v", "fine", "pro"),
        ("test", "t", "fine", "pro"),
        ("test", "u", "so", "neutral"),
    )
    assert list(result["tunesmith.class rows"].dropna()) == [6] * 6 + [2] * 2
    assert list(result["tunesmith.imbalance"].dropna()) == [1] * 6 + [3] * 2
    assert list(result["tunesmith.missing class"].dropna()) == [
        "con: none in validation and test",
        "con: none in validation and test",
    ]
    assert flagged(result["tunesmith.unknown label"]) == [10]


def test_half_a_surrogate_pair():
    """Half an emoji, which no file can hold, becomes the replacement character."""
    rows = readable(table(("train", "a", "fine \ud83d", "pro"), ("test", "b", "\U0001f600", None)))
    assert list(rows["text"]) == ["fine \ufffd", "\U0001f600"]
    assert list(rows["label"]) == ["pro", None]
    assert list(rows["row"]) == [1, 2]


@pytest.mark.parametrize(
    "text",
    [
        "caf\u00c3\u00a9",
        "it\u00e2\u20ac\u2122s",
        "it\u00e2\u0080\u0099s",
        "\u00ef\u00bb\u00bftext",
        "\u00f0\u0178\u02dc\u20ac",
        "\u00d0\u0178\u00d1\u20ac",
        "lost \ufffd",
        "bell \x07",
        "nul \x00",
        "c1 \x85",
    ],
)
def test_damage_is_found(text):
    """UTF-8 read as something else, lost and control characters are damage."""
    assert re.search(DAMAGE, text)


@pytest.mark.parametrize(
    "text",
    [
        "caf\u00e9",
        "S\u00c3O PAULO",
        "\u00c2ge",
        "\u00d0\u00f3rr",
        "it\u2019s 5 \u20ac",
        "a\tb\r\nc",
        "\u041f\u0440\u0438",
    ],
)
def test_sound_text_is_no_damage(text):
    """Accents, capitals with a tilde, Icelandic, Cyrillic, tabs and line ends are sound."""
    assert not re.search(DAMAGE, text)


def test_mojibake_of_every_accented_letter():
    """Every letter from \u00c0 to \u00ff whose UTF-8 was read as Latin-1 is found."""
    damaged = [chr(code).encode("utf-8").decode("latin-1") for code in range(0xC0, 0x100)]
    assert len(damaged) == 64
    assert all(re.search(DAMAGE, text) for text in damaged)


def test_html_escapes():
    """Escapes are found by name, by number and in hexadecimal; a lone ampersand is none."""
    for text in ("a &amp; b", "it&#39;s", "&#x27;", "&quot;"):
        assert re.search(HTML_ESCAPE, text)
    for text in ("AT&T", "R&D", "a & b;", "&#;"):
        assert not re.search(HTML_ESCAPE, text)


def test_names_are_unique_and_said_with_remedy():
    """Every expectation has its own name, and says what helps."""
    data = Data.model_validate(
        {"path": "data/x", "labels": ["a", "b"], "columns": {"text_pair": "other"}}
    )
    specs = list_expectations(data)
    names = [spec.name for spec in specs]
    assert len(set(names)) == len(names)
    assert all(spec.remedy.endswith(".") and spec.column for spec in specs)


def test_allowed_labels_add_expectations():
    """A fixed list of labels adds two expectations; learned labels need neither."""
    learned = list_expectations(Data(path="data/x"))
    fixed = list_expectations(Data(path="data/x", labels=("a", "b")))
    assert {spec.name for spec in fixed} - {spec.name for spec in learned} == {
        "label is one of data.labels",
        "train has every one of data.labels",
    }


def test_second_text_is_held_to_the_same():
    """A pair's second text has the seven expectations of a text."""
    single = list_expectations(Data(path="data/x"))
    pair = list_expectations(
        Data.model_validate({"path": "data/x", "columns": {"text_pair": "other"}})
    )
    assert len(pair) - len(single) == 7
    assert sum(spec.column == "other" for spec in pair) == 7


@pytest.mark.parametrize("rows", [[], [("train", None, None, None)]])
def test_nothing_to_say(rows):
    """A table without rows, or without anything in them, is prepared all the same."""
    result = prepared(*rows)
    helpers = [name for name in result if name.startswith("tunesmith.")]
    assert len(helpers) == 9
    assert not result[helpers].notna().any().any()
