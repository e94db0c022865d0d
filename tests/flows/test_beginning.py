"""`tunesmith init`: guesses that load and give their reasons, data versioned, nothing half made."""

import csv
import io
import json
import os
import random
import shutil
import subprocess

import pytest

from finetuning.errors import InputError, TunesmithError
from finetuning.pipelines import load_pipeline
from flows import beginning
from flows.beginning import begin_pipeline, describe_beginning
from tasks import versioning
from tests.support import begin_repository

pytestmark = pytest.mark.usefixtures("own_dvc")

WORDS = "the printer does not work again please help my order arrived late and the screen broke"


@pytest.fixture
def root(tmp_path):
    """An empty project in a git repository."""
    return begin_repository(tmp_path / "project")


def make_sentence(draw, number):
    """A text that no other row has."""
    return f"{number} {' '.join(draw.choices(WORDS.split(), k=12))}"


def make_records(rows=200, **more):
    """Tickets: numbered, dated, with a body, a queue and a channel; `more` makes other columns."""
    draw = random.Random(0)
    makers = {
        "id": lambda number: str(number),
        "created": lambda number: f"2024-01-{number % 28 + 1:02d}",
        "body": lambda number: make_sentence(draw, number),
        "queue": lambda _number: draw.choice(["hardware", "billing", "billing", "access"]),
        "channel": lambda _number: draw.choice(["mail", "phone"]),
    } | more
    return [{name: make(number) for name, make in makers.items() if make} for number in range(rows)]


def write_csv(path, records, delimiter=","):
    """The records as a table."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(records[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(records)
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def list_tree(folder):
    """Every file outside git's own folder, with its content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def refusal(root, name, data):
    """What the refusal says; nothing may be written by it."""
    before = list_tree(root)
    with pytest.raises(InputError) as caught:
        begin_pipeline(root, name, data)
    assert {name: data for name, data in list_tree(root).items() if ".tunesmith" not in name} == (
        {name: data for name, data in before.items() if ".tunesmith" not in name}
    )
    return str(caught.value)


def test_a_table_becomes_a_pipeline_with_versioned_data(root, tmp_path):
    """The file loads, names the right columns, and the copy is what data.dvc holds."""
    source = write_csv(tmp_path / "tickets.csv", make_records())
    result = begin_pipeline(root, "support", source)
    pipeline = load_pipeline(root / "pipelines" / "support.yaml")
    assert (pipeline.name, pipeline.data.path) == ("support", "data/support")
    assert (pipeline.data.columns.text, pipeline.data.columns.label) == ("body", "queue")
    assert pipeline.data.slices == ("channel",)
    assert pipeline.strategy.kind == "probe-then-tune"
    assert pipeline.training.epochs == 3
    assert (root / "data" / "support" / "train.csv").read_bytes() == source.read_bytes()
    version = versioning.resolve(root, "data/support")
    assert version.committed
    assert result["data_version"] == version.version
    assert result["labels"] == dict(sorted(result["labels"].items(), key=lambda item: -item[1]))
    assert sum(result["labels"].values()) == result["rows"] == 200
    assert result["status"] == "created"
    assert result["next"] == "tunesmith run support"
    assert pipeline.gate.minimum == round(max(result["labels"].values()) / 200, 2)
    text = (root / "pipelines" / "support.yaml").read_text("utf-8")
    assert "# check: 'body' has 100% distinct values" in text
    assert f"'billing': {result['labels']['billing']}" in text
    assert "tunesmith run support" in describe_beginning(json.loads(json.dumps(result)))
    again = begin_pipeline(root, "second", source)
    assert versioning.resolve(root, "data/support").committed
    assert again["data"] == "data/second"


def test_a_folder_inside_a_repository_is_a_project_too(root, tmp_path):
    """Where the git repository begins above, DVC is set up for the folder alone."""
    source = write_csv(tmp_path / "tickets.csv", make_records())
    (root / "inner").mkdir()
    begin_pipeline(root / "inner", "support", source)
    assert versioning.resolve(root / "inner", "data/support").committed
    assert (root / "inner" / ".dvc").is_dir()
    assert not (root / ".dvc").exists()


def test_without_git_it_works_and_says_what_is_lost(tmp_path):
    """Outside a repository the data is versioned too, and a message says what that costs."""
    folder = tmp_path / "plain"
    folder.mkdir()
    source = write_csv(tmp_path / "rows.TSV", make_records(), "\t")
    result = begin_pipeline(folder, "support", source)
    assert "git" in result["messages"][0]
    assert load_pipeline(folder / "pipelines" / "support.yaml").data.train == "train.tsv"


def test_a_failed_init_leaves_the_folder_as_it_was(root, tmp_path, monkeypatch):
    """Where DVC fails, what was made is taken back, what git had staged by it too."""
    (root / ".gitignore").write_text("/mine/\n")
    source = write_csv(tmp_path / "tickets.csv", make_records())

    def break_down(place, _folder):
        (place / "data.dvc").write_text("half")
        (place / ".gitignore").write_text("/mine/\n/data\n")
        raise TunesmithError("the disk is full")

    monkeypatch.setattr(beginning, "record", break_down)
    with pytest.raises(TunesmithError, match=r"the disk is full. Nothing was kept"):
        begin_pipeline(root, "support", source)
    assert set(list_tree(root)) <= {".gitignore"}
    assert (root / ".gitignore").read_text() == "/mine/\n"
    assert not (root / "data").exists()
    staged = subprocess.run(
        ["git", "diff", "--cached", "--name-only"], cwd=root, capture_output=True, check=True
    )
    assert staged.stdout == b""


def test_data_that_is_not_recorded_is_not_swept_in(root, tmp_path):
    """Where what is in data/ differs from data.dvc, init refuses, with both ways out."""
    source = write_csv(tmp_path / "tickets.csv", make_records())
    (root / "data" / "other").mkdir(parents=True)
    (root / "data" / "other" / "rows.csv").write_text("a,b\n1,2\n")
    versioning.initialise(root)
    versioning.add(root)
    (root / "data" / "other" / "rows.csv").write_text("a,b\n1,3\n")
    said = refusal(root, "support", source)
    assert "dvc add data/other" in said
    assert "dvc checkout --force data/other" in said


def test_what_is_only_missing_stays_recorded(root, tmp_path):
    """Data sets that data.dvc holds and that were never here stay in it beside a new one."""
    source = write_csv(tmp_path / "tickets.csv", make_records())
    begin_pipeline(root, "first", source)
    listed = versioning.list_tracked(root, "data/first")
    for path in (root / "data", root / "pipelines"):
        shutil.rmtree(path)
    result = begin_pipeline(root, "second", source)
    assert "data.dvc still holds what is not here: data/first" in result["messages"]
    assert versioning.list_tracked(root, "data/first") == listed
    assert versioning.resolve(root, "data/second").committed
    (root / "data" / "first").mkdir()
    (root / "data" / "first" / "train.csv").write_bytes(source.read_bytes())
    begin_pipeline(root, "third", source)
    assert all(versioning.resolve(root, f"data/{name}").committed for name in ("first", "third"))
    shutil.rmtree(root / "data" / "second")
    (root / "pipelines" / "second.yaml").unlink()
    assert "data.dvc holds and is not here" in refusal(root, "second", source)


@pytest.mark.parametrize(
    "name",
    ["", "Support", "a b", "../up", "a/b", ".hidden", "x" * 64, "support.yaml", "ünï", "a\n"],
)
def test_a_bad_name_is_refused(root, tmp_path, name):
    """A name that a model, a folder or a file cannot bear is said to be wrong."""
    assert "NAME" in refusal(root, name, write_csv(tmp_path / "tickets.csv", make_records()))


@pytest.mark.parametrize(
    "place", ["pipelines/support.yaml", "pipelines/support.yml", "data/support"]
)
def test_nothing_is_ever_overwritten(root, tmp_path, place):
    """A pipeline or a data set of that name, be it a dangling link, is left alone."""
    source = write_csv(tmp_path / "tickets.csv", make_records())
    (root / place).parent.mkdir()
    (root / place).symlink_to("nowhere")
    assert f"{place} exists" in refusal(root, "support", source)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("none.csv", None, "no such file"),
        ("empty.csv", b"", "empty"),
        ("header.csv", b"text,label\n", "no rows"),
        ("latin.csv", b"text,label\nn\xe9,a\n", "not UTF-8"),
        ("ragged.csv", b"text,label\na,b,c\n", "cells"),
        ("broken.jsonl", b"{", "Not JSON"),
        ("broken.parquet", b"PAR1", "parquet"),
        ("table.xlsx", b"PK", "ends with"),
        ("~nobody-of-that-name/table.csv", None, "cannot be read"),
    ],
)
def test_an_unreadable_table_is_refused(root, tmp_path, file, content, said):
    """Each way of not being a table is said in its own words."""
    if content is not None:
        (tmp_path / file).write_bytes(content)
    path = tmp_path / file if content is not None or "~" not in file else beginning.Path(file)
    assert said in refusal(root, "support", path)


def test_a_path_is_said_as_it_was_given(root, tmp_path, monkeypatch):
    """And what is true of it: no such folder, nothing in it, no image in it."""
    monkeypatch.chdir(tmp_path)
    gone = beginning.Path("nowhere")
    said = refusal(root, "support", gone / "file.csv")
    assert "'nowhere/file.csv'. There is no folder" in said
    assert "'nowhere'. There is no such file or folder." in refusal(root, "support", gone)
    gone.mkdir()
    assert "'nowhere'. The folder is empty" in refusal(root, "support", gone)
    (gone / "notes.md").write_text("no image")
    assert "'nowhere'. The folder holds no images" in refusal(root, "support", gone)
    (gone / "table.xlsx").write_text("no table")
    assert "'nowhere/table.xlsx'. Give a table" in refusal(root, "support", gone / "table.xlsx")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"queue": None, "channel": None}, "something else than text classification"),
        (
            {"queue": lambda _number: "all", "channel": None, "label": lambda _number: "one"},
            "at least 2 labels",
        ),
        ({"queue": None, "channel": None, "rating": lambda number: f"{number}.5"}, "regression"),
        (
            {
                "queue": None,
                "channel": None,
                "question": lambda n: f"why is {n} so?",
                "context": lambda n: f"because of {n} and more",
            },
            "question answering",
        ),
        ({"body": None}, "free text"),
        ({"body": None, "key": lambda number: f"some free text {number}"}, "Rename 'key'"),
    ],
)
def test_a_table_for_another_problem_is_refused(root, tmp_path, more, said):
    """What does not look like text classification is refused with what it looks like."""
    assert said in refusal(root, "support", write_csv(tmp_path / "t.csv", make_records(**more)))


def test_semicolons_are_recognised(root, tmp_path):
    """A file that a spreadsheet saved with semicolons is refused with that hint."""
    source = write_csv(tmp_path / "tickets.csv", make_records(), ";")
    source.write_text(source.read_text().replace(",", " "))
    assert "';'" in refusal(root, "support", source)


def test_missing_and_rare_values_are_said(root, tmp_path):
    """Rows without a label, and labels with a handful of rows, are messages of the result."""
    records = make_records(
        queue=lambda number: (
            ["", "rare", "rare"][number] if number < 3 else ["hardware", "billing"][number % 2]
        )
    )
    source = write_csv(tmp_path / "tickets.csv", records)
    result = begin_pipeline(root, "support", source)
    assert any("1 of 200 rows have no 'queue'" in message for message in result["messages"])
    assert any("'rare'" in message for message in result["messages"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_refused(root, tmp_path):
    """A table that may not be read is the user's to repair."""
    source = write_csv(tmp_path / "tickets.csv", make_records())
    source.chmod(0)
    assert "cannot be read" in refusal(root, "support", source)
