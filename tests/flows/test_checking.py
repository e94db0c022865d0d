"""`tunesmith validate` over real small projects: what is kept, what is returned, what stops."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from finetuning.errors import InputError, ValidationError
from flows.checking import describe_validation, validate_pipeline

PIPELINE = """
name: toys
problem: text-classification
data:
  path: data/toys
  train: train.csv
  columns: {text: text, label: label}
model: {base: ./there-is-no-such-model}
"""


def write_rows(root, labels=("good", "bad"), empty=0):
    """A table of 30 rows a label, and some whose text is empty."""
    rows = [
        f"toy {word} number {n} of {label},{label}"
        for n, word in enumerate("abcdefghijklmnopqrstuvwxyzABCD")
        for label in labels
    ]
    rows += [f",{labels[0]}"] * empty
    (root / "data" / "toys").mkdir(parents=True, exist_ok=True)
    (root / "data" / "toys" / "train.csv").write_text("\n".join(["text,label", *rows]) + "\n")


@pytest.fixture
def project(tmp_path):
    """A project with one pipeline, whose base model is nowhere, and sound data."""
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines" / "toys.yaml").write_text(PIPELINE)
    write_rows(tmp_path)
    return tmp_path


def test_sound_data_is_valid_without_a_base_model(project):
    """Sound data gives rows, expectations and a page, although the base model is not at hand."""
    result = validate_pipeline(project, "toys", [])
    assert result["status"] == "valid"
    assert result["pipeline"] == "toys"
    assert result["data_version"].endswith(".dir")
    assert sum(result["rows"].values()) == 60
    assert result["critical_failures"] == 0
    assert all(
        outcome["success"]
        for outcome in result["expectations"]
        if outcome["severity"] == "critical"
    )
    json.dumps(result)
    kept = project / ".tunesmith" / "validation" / "toys"
    assert sorted(path.name for path in kept.iterdir()) == ["index.html", "results.json"]
    assert result["report"] == str(kept / "index.html")
    words = describe_validation(result)
    assert "the data is valid" in words
    assert result["data_version"] in words


def test_rows_that_are_worth_a_look_are_named(project):
    """The first three of each expectation that was not met, and no more."""
    table = project / "data" / "toys" / "train.csv"
    table.write_text(table.read_text() + "".join(f"a &amp; b {n},good\n" for n in range(5)))
    result = validate_pipeline(project, "toys", [])
    words = describe_validation(result).split("text has no HTML escapes: ")[1].splitlines()
    assert [line.split(" row ")[0] for line in words[1:4]] == ["      train.csv"] * 3
    assert all("a &amp; b" in line for line in words[1:4])
    assert " row " not in words[4]


def test_data_that_fails_stops_with_code_three_and_keeps_the_page(project):
    """Empty texts raise a ValidationError that names row, remedy and page; the page is replaced."""
    validate_pipeline(project, "toys", [])
    write_rows(project, empty=2)
    with pytest.raises(ValidationError) as caught:
        validate_pipeline(project, "toys", [])
    assert caught.value.exit_code == 3
    page = project / ".tunesmith" / "validation" / "toys" / "index.html"
    assert "train.csv row 61" in str(caught.value)
    assert str(page) in str(caught.value)
    assert json.loads(page.with_name("results.json").read_text())["success"] is False
    assert [path.name for path in page.parent.parent.iterdir()] == ["toys"]


def test_overrides_and_faults_reach_the_pipeline_file(project):
    """A column that an override names wrongly is the user's fault, with its key."""
    with pytest.raises(InputError, match=r"data\.columns\.text"):
        validate_pipeline(project, "toys", ["data.columns.text=body"])


def test_neither_prefect_nor_torch_is_imported(project):
    """Validation imports no Prefect, MLflow or torch, so that it answers in seconds."""
    code = (
        "import sys; from pathlib import Path; from flows.checking import validate_pipeline;"
        "validate_pipeline(Path(sys.argv[1]), 'toys', []);"
        "print(sorted({'prefect', 'mlflow', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(project)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
