"""Rows held against what is expected of them: what passes, warns, and stops a run."""

from __future__ import annotations

import json
from pathlib import Path

import pandas
import pytest

from tasks.validation import validate_rows
from tests.validation_rows import digest, failures, settings, snapshot, sound, validated

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_sound_rows_pass():
    """Rows without a fault meet every expectation."""
    report = validated()
    assert report.success
    assert failures(report) == {}
    assert report.rows == {"train": 20, "validation": 4, "test": 2, "left-out": 0}


def test_one_blank_in_101_rows_warns():
    """Under 1% of blank texts only warn; the example says which row it is."""
    more = [("train", f"good thing {number}", "pro") for number in range(74)]
    report = validated(*more, ("train", " ", "pro"))
    assert failures(report) == {"text is neither null nor blank": 1}
    assert report.success
    (outcome,) = report.failed("warning")
    assert [(item.file, item.row, item.value) for item in outcome.examples] == [
        ("train.csv", 101, " ")
    ]
    assert outcome.unexpected_percent == pytest.approx(100 / 101, abs=1e-4)


def test_many_blanks_stop():
    """2 blank texts of 28 rows are over 1%."""
    report = validated(("train", None, "pro"), ("train", "", "con"))
    assert report.failed("critical")[0].unexpected_count == 2
    assert report.failed("critical")[0].name.startswith("text is neither null nor blank, in")


def test_null_label_stops():
    """One row without a label stops the run."""
    report = validated(("train", "no label", None), ("train", "white label", " "))
    assert failures(report) == {"label is neither null nor blank": 2}
    assert not report.success


def test_label_that_is_not_allowed():
    """A misspelt label fails where the labels are given, and is shown."""
    report = validated(("train", "a", "Pro"), ("train", "b!", "Pro"), labels=["pro", "con"])
    named = {item.name: item for item in report.failed("critical")}
    assert named["label is one of data.labels"].unexpected_count == 2
    assert named["label is one of data.labels"].examples[0].value == "Pro"


def test_allowed_label_without_rows():
    """An allowed label that train lacks is named."""
    report = validated(labels=["pro", "con", "neutral"])
    (outcome,) = report.failed("critical")
    assert outcome.name == "train has every one of data.labels"
    assert outcome.observed == "missing neutral"


def test_label_unknown_to_train():
    """A label that only test has stops the run."""
    report = validated(("test", "so so", "neutral"))
    assert failures(report) == {"every label of validation and test is known from train": 1}
    assert not report.success


def test_class_that_is_missing_from_a_split():
    """A class of 10 training rows that validation and test lack counts its 10 rows."""
    report = validated(*[("train", f"so so {number}", "neutral") for number in range(10)])
    (outcome,) = report.failed("critical")
    assert outcome.unexpected_count == 10
    assert outcome.examples[0].value == "neutral: none in validation and test"
    assert not report.failed("warning")


def test_one_class_stops():
    """A single class leaves nothing to learn."""
    rows = [row for row in sound() if row[2] == "pro"]
    report = validate_rows(snapshot(rows), settings())
    (outcome,) = report.failed("critical")
    assert (outcome.name, outcome.observed) == ("train has at least 2 classes", "1")


@pytest.mark.parametrize(
    ("size", "critical", "warning"), [(1, 1, 1), (2, 0, 1), (9, 0, 1), (10, 0, 0)]
)
def test_rows_of_a_class(size, critical, warning):
    """A class with 1 row in train stops, one with up to 9 warns."""
    rows = [("train", f"so so {number}", "neutral") for number in range(size)]
    rows += [("validation", "not sure", "neutral"), ("test", "unsure", "neutral")]
    report = validated(*rows)
    assert (report.critical_failures, report.warnings) == (critical, warning)


@pytest.mark.parametrize(("more", "warns"), [(190, False), (191, True)])
def test_imbalance(more, warns):
    """200 rows against 10 are 20 times as many and pass; 201 warn."""
    report = validated(*[("train", f"good {number}", "pro") for number in range(more)])
    assert (report.warnings == 1) is warns
    if warns:
        assert report.failed("warning")[0].examples[0].value == "con"


def test_repeated_rows_warn():
    """A text that returns in its split, in other case and spacing, is one repetition."""
    report = validated(("train", "GOOD  number train 3 ", "pro"))
    assert failures(report) == {"no text stands twice with the same label in a split": 1}


def test_two_labels():
    """2 of 27 rows (7.4%) with one text and two labels warn; 4 of 28 (14.3%) stop."""
    once = validated(("train", "good number train 3", "con"))
    assert failures(once) == {"no text has two labels": 2}
    twice = validated(
        ("train", "good number train 3", "con"), ("train", "bad number train 3", "pro")
    )
    assert twice.failed("critical")[0].unexpected_count == 4
    assert twice.failed("critical")[0].examples[0].value == "[con | pro] good number train 3"


def test_left_out_rows_warn_and_count_nowhere_else():
    """A leaked row is reported once, and held against nothing else."""
    report = validated(("left-out", "good number test 0 &amp; \ufffd", None))
    assert failures(report) == {"no text of train stands in validation or test too": 1}
    assert report.rows["left-out"] == 1
    assert report.failed("warning")[0].examples[0].row == 27


def test_damage():
    """Mojibake, control characters and escapes are counted, each by its own expectation."""
    report = validated(
        ("train", "caf\u00c3\u00a9", "pro"),
        ("train", "ring \x07", "con"),
        ("train", "half \ud83d", "con"),
        ("train", "this &amp; that", "con"),
    )
    assert failures(report) == {"text has no broken encoding": 3, "text has no HTML escapes": 1}


def test_missing_column_is_said_alone():
    """Without its label column nothing else is computed, and the run stops."""
    report = validate_rows(snapshot(sound()).drop(columns="label"), settings())
    assert failures(report) == {"there is a column label": None}
    assert len(report.outcomes) == 2


def test_pair_and_odd_column_names():
    """Columns may be named as the helpers' suffixes are, and a pair's second text is checked."""
    rows = snapshot([(*row, {"filled text": "x"}) for row in sound()])
    rows = rows.rename(columns={"text": "tunesmith", "label": "0"})
    columns = {"text": "tunesmith", "text_pair": "filled text", "label": "0"}
    report = validate_rows(rows, settings(columns=columns))
    assert failures(report) == {"filled text has at least 2 characters": 26}


def test_no_rows_at_all():
    """A table without rows fails as one without classes, not with an exception."""
    report = validate_rows(snapshot(sound()).head(0), settings())
    assert "train has at least 2 classes" in failures(report)
    json.dumps(report.to_json(), allow_nan=False)


def real_rows(name):
    """A real table of texts and labels, split into thirds by key."""
    path = REAL / name / "all.csv"
    if not path.is_file():
        pytest.skip(f"shared/data/{name} is not beside this checkout")
    table = pandas.read_csv(path, dtype=object, keep_default_na=False)
    splits = ("train", "validation", "test")
    return snapshot(
        (splits[int(digest(text), 16) % 3], text or None, label)
        for text, label in zip(table["text"], table["label"], strict=True)
    )


def test_real_pros_and_cons():
    """45,875 phrases with the counts that their README states, but for the escapes.

    2,267 rows are of texts with both labels and 8 are blank. Rows with an escape are 992 by
    three ways of counting (html.unescape among them), where the README says 994.
    """
    rows = real_rows("pros_cons")
    report = validate_rows(rows, settings())
    assert report.success
    assert sum(report.rows.values()) == 45_875
    found = failures(report)
    assert found["no text has two labels"] == 2267
    assert found["text is neither null nor blank"] == 8
    assert found["text has no HTML escapes"] == 992
    (outcome,) = [item for item in report.outcomes if item.name == "no text has two labels"]
    assert outcome.unexpected_percent == pytest.approx(100 * 2267 / 45_875, abs=1e-4)


def test_real_messages():
    """The 35 messages with control characters that the README of the spam data counts."""
    report = validate_rows(real_rows("sms_spam"), settings())
    assert failures(report)["text has no broken encoding"] == 35
