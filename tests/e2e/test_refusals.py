"""What the main job refuses, and how it says so: the command line on a tiny model."""

import pytest

from tests.support import call_json, run_json


def test_wrong_input_lists_all_faults(project):
    """Wrong keys and values end with exit code 2, each with its key and remedy."""
    words = ("run", "toy", "--set", "training.epochs=0", "--set", "modell.base=x")
    result = call_json(project, *words, code=2)
    assert {fault["key"] for fault in result["faults"]} == {"training.epochs", "modell"}
    assert "model" in next(f["remedy"] for f in result["faults"] if f["key"] == "modell")


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("data.path=../elsewhere", "data.path"),
        ("data.path=data/nowhere", "data.path"),
        ("model.base=nobody/nothing-here", "model.base"),
        ("model.base=./missing", "model.base"),
    ],
)
def test_missing_things_are_said(project, override, key):
    """A folder or a base model that is nowhere ends with exit code 2 and names its key."""
    result = call_json(project, "run", "toy", "--set", override, code=2)
    assert key in {fault["key"] for fault in result["faults"]}


def test_damaged_data_stops_the_run(project):
    """A label that is not allowed ends with exit code 3, shows the rows, registers nothing."""
    result = run_json(project, "run", "toy", "--set", "data.labels=[positive, neutral]", code=3)
    assert result["status"] == "invalid"
    assert "train.csv row 2: 'negative'" in result["error"]


def test_missing_column_and_slice_are_listed_together(project):
    """Several wrong columns are all named, with the columns that there are."""
    words = ("--set", "data.columns.text=body", "--set", "data.slices=[shop]")
    result = call_json(project, "run", "toy", *words, code=2)
    assert {fault["key"] for fault in result["faults"]} == {"data.columns.text", "data.slices[0]"}
    assert "source" in result["faults"][0]["remedy"]
