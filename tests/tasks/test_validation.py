"""Rows held against what is expected of them: faults, reports, and what stops a run."""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from pathlib import Path

import pandas
import pytest

from finetuning.config import Data
from finetuning.errors import InputError, ValidationError
from tasks.validation import check_expectations, validate_rows
from tasks.validation_report import printable, raise_if_invalid, write_report

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def digest(text):
    """The key that the snapshot gives a text."""
    normal = unicodedata.normalize("NFKC", text or "").casefold().split()
    return hashlib.sha256(" ".join(normal).encode("utf-8", "replace")).hexdigest()


def snapshot(rows):
    """Rows of (split, text, label, further columns as a mapping) as the snapshot hands them on."""
    made = [
        {
            "file": "test.csv" if split == "test" else "train.csv",
            "row": number,
            "split": split,
            "key": digest(text),
            "text": text,
            "label": label,
            **dict(*more),
        }
        for number, (split, text, label, *more) in enumerate(rows, start=1)
    ]
    return pandas.DataFrame(made, dtype=object)


def sound():
    """26 rows without a fault: 10 for each class in train, 2 and 1 of each in the others."""
    return [
        (split, f"{word} number {split} {position}", label)
        for split, size in (("train", 10), ("validation", 2), ("test", 1))
        for label, word in (("pro", "good"), ("con", "bad"))
        for position in range(size)
    ]


def settings(**changes):
    """A data section."""
    return Data.model_validate({"path": "data/x", **changes})


def validated(*rows, **changes):
    """The report on the sound rows with others behind."""
    return validate_rows(snapshot([*sound(), *rows]), settings(**changes))


def failures(report):
    """Names of what failed, with the count of rows."""
    return {item.name: item.unexpected_count for item in report.outcomes if not item.success}


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


def own(**arguments):
    """A single expectation of the user's own."""
    return {"expectations": [arguments]}


def test_own_expectation():
    """The user's own class is held against the rows kept, with its severity."""
    report = validated(
        ("train", "fine", "pro"),
        ("left-out", "ok", "pro"),
        **own(
            expect="ExpectColumnValueLengthsToBeBetween",
            column="text",
            min_value=5,
            severity="warning",
        ),
    )
    (outcome,) = [item for item in report.failed("warning") if "data.expectations[0]" in item.name]
    assert outcome.unexpected_count == 1
    assert outcome.examples[0].value == "fine"


def test_equal_own_expectations_are_both_reported():
    """Great Expectations drops equal expectations; the report has both."""
    report = validated(
        expectations=[{"expect": "ExpectTableRowCountToEqual", "value": 3}] * 2,
    )
    assert [item.observed for item in report.failed("critical")] == ["26", "26"]


def test_own_table_expectation_sees_own_columns():
    """Helper columns are not counted as the user's."""
    assert validated(**own(expect="ExpectTableColumnCountToEqual", value=2)).success


def test_own_numbers():
    """A column of numbers, which comes as text, is compared as numbers."""
    rows = [(*row, {"stars": str(position)}) for position, row in enumerate(sound())]
    section = settings(
        **own(expect="ExpectColumnValuesToBeBetween", column="stars", min_value=0, max_value=23)
    )
    (outcome,) = validate_rows(snapshot(rows), section).failed("critical")
    assert [item.value for item in outcome.examples] == ["24", "25"]


def test_own_expectation_over_several_columns():
    """An example over two columns shows both."""
    report = validated(
        ("train", "pro", "pro"),
        **own(
            expect="ExpectSelectColumnValuesToBeUniqueWithinRecord", column_list=["text", "label"]
        ),
    )
    assert report.failed("critical")[0].examples[0].value == "text=pro, label=pro"


def test_own_expectation_that_cannot_be_computed():
    """A mean of words is the user's fault, said with its key."""
    with pytest.raises(InputError) as caught:
        validated(**own(expect="ExpectColumnMeanToBeBetween", column="text", min_value=1))
    assert caught.value.faults[0].key == "data.expectations[0]"
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "key", "remedy"),
    [
        (
            {"expect": "ExpectColumnValuesToBeInSett", "column": "text"},
            "expect",
            "ExpectColumnValuesToBeInSet",
        ),
        ({"expect": "Expectation"}, "expect", "no such class"),
        (
            {"expect": "ExpectColumnValuesToNotBeNull", "column": "txt"},
            "column",
            "Did you mean text",
        ),
        (
            {"expect": "ExpectColumnValuesToNotBeNull", "column": "text", "mostli": 0.5},
            "mostli",
            "Did you mean mostly",
        ),
        (
            {"expect": "ExpectColumnValuesToNotBeNull", "column": "text", "mostly": 5},
            "mostly",
            "less than or equal to 1",
        ),
        (
            {"expect": "ExpectColumnPairValuesToBeEqual", "column_A": "text"},
            "column_B",
            "Field required",
        ),
        (
            {"expect": "ExpectCompoundColumnsToBeUnique", "column_list": ["text", "labell"]},
            "column_list",
            "Did you mean label",
        ),
        (
            {"expect": "ExpectColumnValuesToNotBeNull", "column": "text", "meta": {}},
            "meta",
            "Leave this argument out",
        ),
    ],
)
def test_faults_of_own_expectations(arguments, key, remedy):
    """Each fault has its key, and a remedy with what was probably meant."""
    (fault,) = check_expectations(settings(**own(**arguments)), ["text", "label"])
    assert fault.key == f"data.expectations[0].{key}"
    assert remedy in fault.remedy


def test_all_faults_are_listed_at_once():
    """Two wrong expectations are two faults of one InputError."""
    wrong = [{"expect": "ExpectNothing"}, {"expect": "ExpectColumnToExist", "column": "x"}]
    with pytest.raises(InputError) as caught:
        validated(expectations=wrong)
    assert [fault.key for fault in caught.value.faults] == [
        "data.expectations[0].expect",
        "data.expectations[1].column",
    ]


def test_report_on_disk(tmp_path):
    """The JSON holds the contract's keys; the page escapes the data and asks no network."""
    text = "<script>alert(1)</script> \u202e\x1b[31m &amp;"
    report = validated(("train", text, None))
    write_report(report, tmp_path / "validation")
    results = json.loads((tmp_path / "validation" / "results.json").read_text("utf-8"))
    assert results == json.loads(json.dumps(report.to_json()))
    assert results["success"] is False
    assert (results["critical_failures"], results["warnings"]) == (1, 2)
    assert results["rows"]["train"] == 21
    assert {"name", "expect", "severity", "success", "column", "unexpected_count"} < set(
        results["expectations"][0]
    )
    page = (tmp_path / "validation" / "index.html").read_text("utf-8")
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt; \\u202e\\x1b[31m &amp;amp;" in page
    assert not re.search(r"https?://|src=|@import", page)


def test_raise_if_invalid():
    """The error names the expectation, its rows and the remedy, with controls escaped."""
    report = validated(*[("train", f"text\x1b {number}" + "x" * 300, " ") for number in range(7)])
    with pytest.raises(ValidationError) as caught:
        raise_if_invalid(report)
    lines = str(caught.value).splitlines()
    assert lines[0] == "The data failed 1 critical expectation:"
    assert lines[1] == "- label is neither null nor blank: 7 rows (21.21 %)."
    assert lines[2] == "    train.csv row 27: ' '"
    assert len([line for line in lines if "train.csv row " in line]) == 5
    assert lines[-1] == "  Give every row its label, or delete the row."
    assert caught.value.exit_code == 3


def test_raise_if_invalid_shortens_and_escapes():
    """A long text is cut after 200 characters, and its control characters are escaped."""
    labels = ["pro", "con"]
    report = validated(("train", "a thing", "\x1b" + "x" * 300), labels=labels)
    with pytest.raises(ValidationError, match=r"row 27: '\\x1bx{199}…'"):
        raise_if_invalid(report)


def test_raise_if_invalid_lets_warnings_pass():
    """A report with warnings alone raises nothing."""
    report = validated(("train", "&amp; so", "pro"))
    assert report.warnings == 1
    raise_if_invalid(report)


def test_silence(capfd, caplog):
    """Neither progress bars nor log lines reach the terminal."""
    caplog.set_level("DEBUG")
    validated(("train", "&amp; so", "pro"))
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if "great_expectations" in record.name] == []


def test_printable():
    """Letters of any script stay; what is not seen is escaped."""
    assert printable("h\u00e9 \u4f60\n\u202e\ud83d") == "h\u00e9 \u4f60\\n\\u202e\\ud83d"


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
