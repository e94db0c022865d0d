"""What is wrong with a run's input is said together, before anything heavy is imported."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from finetuning.errors import InputError
from flows.preparation import check_tables, need_work, prepare_work
from tests.support import begin_repository, make_environment, make_rows, shell, write_table

REPOSITORY = Path(__file__).resolve().parents[2]
PIPELINE = """
name: toy
problem: text-classification
data: {{path: data/toy, columns: {{text: {text}}}, slices: [{slice}]}}
model: {{base: {base}}}
"""

pytestmark = pytest.mark.usefixtures("own_dvc")


@pytest.fixture
def project(tmp_path):
    """A project whose table has the columns text, label and source."""
    write_table(tmp_path / "data" / "toy" / "train.csv", make_rows(30, seed=1))
    (tmp_path / "pipelines").mkdir()
    return tmp_path


def describe(project, base, text="text", by="source"):
    """Write the pipeline file."""
    content = PIPELINE.format(base=base, text=text, slice=by)
    (project / "pipelines" / "toy.yaml").write_text(content)


def faults_of(act):
    """The keys of what is wrong."""
    with pytest.raises(InputError) as caught:
        act()
    return [fault.key for fault in caught.value.faults]


def test_wrong_columns_are_said_with_a_missing_base(project):
    """The file's columns, its slices and its base model: one list."""
    describe(project, "./nowhere", text="body", by="shop")
    keys = faults_of(lambda: prepare_work(project, "toy"))
    assert keys == ["model.base", "data.columns.text", "data.slices[0]"]


def test_faults_of_the_file_hide_no_others(project, bert_folder):
    """Wrong keys, the base model, and the columns; and of a right base, too many groups."""
    describe(project, "./nowhere", text="body", by="shop")
    wrong = ["strategy.kind=frezze", "training.learning_rate=-1", "training.epoch=3"]
    file = ["strategy.kind", "training.learning_rate", "training.epoch"]
    keys = faults_of(lambda: prepare_work(project, "toy", wrong))
    assert keys == [*file, "model.base", "data.columns.text", "data.slices[0]"]
    describe(project, bert_folder, text="body")
    keys = faults_of(lambda: prepare_work(project, "toy", ["strategy.groups=50", "gate.alpha=9"]))
    assert keys == ["gate.alpha", "strategy.groups", "data.columns.text"]
    assert faults_of(lambda: prepare_work(project, "toy", ["data=5", *wrong])) == ["data", *file]


def test_the_commit_is_the_one_that_the_run_began_at(project, bert_folder):
    """What is committed while a run goes on is not what it was made from."""
    describe(project, bert_folder)
    assert need_work(project, "toy").commit.sha is None
    begin_repository(project)
    shell(project, "git", "add", "-A")
    shell(project, "git", "commit", "-qm", "Begin")
    work = need_work(project, "toy")
    begun = work.commit
    shell(project, "git", "commit", "-qm", "Later", "--allow-empty")
    assert work.commit == begun
    assert need_work(project, "toy").commit.sha != begun.sha


def test_tables_are_read_until_there_is_a_snapshot(project, bert_folder):
    """A column that is missing is found; what a snapshot was taken of is right."""
    describe(project, bert_folder, by="shop")
    work = need_work(project, "toy")
    assert faults_of(lambda: check_tables(work)) == ["data.slices[0]"]
    work.store.keep("snapshot", work.plans["snapshot"].key, lambda _folder: {})
    check_tables(work)


def test_a_wrong_column_starts_nothing(project, bert_folder):
    """In a process of its own: exit code 2, all columns named, and nothing heavy imported."""
    describe(project, bert_folder, text="body", by="shop")
    code = (
        "import atexit, sys; from flows import cli;"
        "heavy = ('prefect', 'torch', 'mlflow', 'pandas');"
        "atexit.register(lambda: print([name for name in heavy if name in sys.modules]));"
        "sys.argv = ['tunesmith', 'run', 'toy', '--json']; cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project,
        env=make_environment() | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    answer, imported = done.stdout.splitlines()
    keys = [fault["key"] for fault in json.loads(answer)["faults"]]
    assert keys == ["data.columns.text", "data.slices[0]"]
    assert imported == "[]"


def test_the_sample_s_remedy_is_to_fetch_it(tmp_path):
    """In a fresh clone, where data/ is not there yet."""
    (tmp_path / "pipelines").mkdir()
    shutil.copy(REPOSITORY / "pipelines" / "reviews.yaml", tmp_path / "pipelines")
    shutil.copy(REPOSITORY / "data.dvc", tmp_path)
    shutil.copytree(REPOSITORY / ".dvc", tmp_path / ".dvc", ignore=lambda *_: ["cache", "tmp"])
    with pytest.raises(InputError) as caught:
        prepare_work(tmp_path, "reviews", ["model.base=./nowhere"])
    assert "python -m tasks.sample" in caught.value.faults[0].remedy
