"""The user's own expectations: any Great Expectations class, and the faults in naming one."""

from __future__ import annotations

import pytest

from finetuning.errors import InputError
from tasks.validation import check_expectations, validate_rows
from tests.validation_rows import settings, snapshot, sound, validated


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
