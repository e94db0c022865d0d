"""`tunesmith status` and `tunesmith lineage` over a real MLflow database."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from finetuning.digests import PROJECT
from finetuning.errors import InputError
from finetuning.pipelines import load_pipeline
from finetuning.sources import find_base
from flows import inspection
from flows.inspection import describe_lineage, describe_status, read_lineage, read_status
from tasks.planning import plan, remember
from tasks.registry import connect, find_experiment
from tasks.versioning import resolve

PIPELINE = """
name: {name}
problem: text-classification
data:
  path: data/toys
  train: train.csv
  columns: {{text: text, label: label}}
model: {{base: ./base}}
"""
RECORD = {
    "pipeline": "toys",
    "data_version": "abc.dir",
    "commit": {"sha": "f00", "dirty": False, "difference": None},
    "code": {"tasks.training": "0123456789abcdef"},
    "verdict": {"promote": True, "reasons": ["accuracy 0.9 reaches the floor 0.8"]},
    "validation": {"critical_failures": 0, "warnings": 2, "failures": ""},
}


def add_pipeline(root, name):
    """A pipeline file of the project."""
    (root / "pipelines" / f"{name}.yaml").write_text(PIPELINE.format(name=name))


def plan_work(root, name):
    """The work that a run of the pipeline would do now."""
    pipeline = load_pipeline(root / "pipelines" / f"{name}.yaml")
    base = find_base(pipeline.model.base, None, root)
    return plan(root, pipeline, resolve(root, pipeline.data.path), base)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project whose pipeline toys has version 1 (no record) and version 2 (recorded, waiting)."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("pipelines", "base", "data/toys"):
        (root / folder).mkdir(parents=True)
    (root / "base" / "config.json").write_text("{}")
    (root / "base" / "model.safetensors").write_bytes(b"weights")
    (root / "data" / "toys" / "train.csv").write_text("text,label\nfine,good\npoor,bad\n")
    add_pipeline(root, "toys")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = connect(root)
        experiment = find_experiment(client, root, "toys")
        client.create_registered_model("toys")
        work = plan_work(root, "toys")
        for digest in ("an-older-one", work.plans["register"].key):
            run = client.create_run(experiment).info.run_id
            client.log_metric(run, "test/accuracy", 0.9)
            client.create_model_version(
                "toys", source=f"runs:/{run}/model", run_id=run, tags={"tunesmith.digest": digest}
            )
        client.log_dict(run, RECORD, "lineage.json")
        client.set_registered_model_alias("toys", "challenger", "2")
    for stage in work.plans:
        remember(work, stage)
    return root


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    """A copy of the project; its registry's records lie where they were made."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def status_of(root, name="toys"):
    """The status of one pipeline."""
    return next(one for one in read_status(root)["pipelines"] if one["pipeline"] == name)


def test_a_model_that_a_run_would_make_again_is_up_to_date(project):
    """The newest version with its alias, score and time; nothing changed since."""
    one = status_of(project)
    assert one["state"] == "up to date"
    assert one["model_version"] == "2"
    assert one["aliases"] == {"challenger": "2"}
    assert (one["score"], one["metric"]) == (pytest.approx(0.9), "accuracy")
    assert one["made"].endswith("+00:00")
    assert "challenger=2" in describe_status(read_status(project))


def test_changed_data_and_config_are_said_in_words(project):
    """An edited table and an edited key are each named, data first; config alone is no data."""
    path = project / "pipelines" / "toys.yaml"
    path.write_text(path.read_text() + "training: {epochs: 7}\n")
    one = status_of(project)
    assert one["state"] == "changed"
    assert one["why"] == "training.epochs changed 3 -> 7"
    (project / "data" / "toys" / "train.csv").write_text("text,label\nfine,good\n")
    one = status_of(project)
    assert one["state"] == "data changed"
    assert one["why"] == "data: train.csv changed; training.epochs changed 3 -> 7"


def test_a_broken_file_does_not_hide_the_others(project):
    """Faults stay with their pipeline; one that never ran is said to be so."""
    (project / "pipelines" / "broken.yaml").write_text("name: broken\nproblem: juggling\n")
    add_pipeline(project, "fresh")
    broken = status_of(project, "broken")
    assert broken["state"] == "broken"
    assert "problem" in {fault["key"] for fault in broken["faults"]}
    fresh = status_of(project, "fresh")
    assert (fresh["state"], fresh["model_version"]) == ("never run", None)
    assert status_of(project)["state"] == "up to date"
    result = read_status(project)
    assert json.loads(json.dumps(result)) == result
    assert "problem: found" in describe_status(result)


def test_missing_data_is_not_fetched(project):
    """To look starts no DVC; what could be brought is unknown, and what nobody has is broken."""
    shutil.rmtree(project / "data" / "toys")
    one = status_of(project)
    assert one["state"] == "broken"
    assert "Put it there and run: dvc add data" in one["why"]
    (project / "data.dvc").write_bytes((PROJECT / "data.dvc").read_bytes())
    (project / ".dvc").mkdir()
    assert status_of(project)["state"] == "broken"
    (project / ".dvc" / "config").write_text("[core]\n    remote = store\n")
    one = status_of(project)
    assert one["state"] == "unknown"
    assert "`dvc pull data/toys` or `tunesmith run`" in one["why"]


def test_a_sample_that_was_not_made_is_not_broken(project):
    """Its state is unknown, and what makes it is said."""
    path = project / "pipelines" / "toys.yaml"
    path.write_text(path.read_text().replace("data/toys", "data/digits"))
    (project / "data.dvc").write_bytes((PROJECT / "data.dvc").read_bytes())
    one = status_of(project)
    assert one["state"] == "unknown"
    assert "make data" in one["why"]


def test_a_hundred_pipelines_are_looked_at_without_mlflow(project):
    """Neither MLflow nor Prefect, which take seconds to import, is; how long it takes: load.py."""
    for number in range(99):
        add_pipeline(project, f"p{number}")
    code = (
        "import sys; from pathlib import Path; from flows.inspection import read_status;"
        "result = read_status(Path(sys.argv[1]));"
        "print(len(result['pipelines']), 'mlflow' in sys.modules, 'prefect' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(project)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["100", "False", "False"]


def test_mlflow_itself_gives_the_same_answer(project, monkeypatch):
    """Where the database cannot be asked directly, MLflow's client says the same."""
    direct = read_status(project)
    monkeypatch.setattr(inspection, "SQLITE", "nothing begins like this")
    assert read_status(project) == direct


@pytest.mark.parametrize("reference", ["toys", "toys@challenger", "toys/2"])
def test_lineage_is_the_record_with_its_version(project, reference):
    """Each way to name a version leads to its record, aliases and tags."""
    result = read_lineage(project, reference)
    assert {key: result[key] for key in RECORD} == RECORD
    assert result["model_version"] == "2"
    assert result["aliases"] == ["challenger"]
    assert "tunesmith.digest" in result["tags"]
    words = describe_lineage(result)
    assert words.startswith("toys, version 2 (challenger)\n")
    assert "passed: " in words
    assert "reaches the floor" in words
    assert words.split("code.tasks.training", 1)[1].split()[0] == "0123456789ab"
    columns = {
        line.index(line.split()[1], len(line.split()[0]) + 2) for line in words.splitlines()[1:]
    }
    assert len(columns) == 1


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("dolls", "no model dolls"),
        ("toys@champion", "aliases challenger"),
        ("toys/9", "versions 1, 2"),
        ("toys/1", "tunesmith run toys"),
        ("a@b@c", "NAME@ALIAS"),
    ],
)
def test_lineage_of_nothing_is_the_users_fault(project, reference, words):
    """A model, alias, version or record that is not there: what there is, and what to do."""
    with pytest.raises(InputError, match=words):
        read_lineage(project, reference)


def test_looking_makes_no_database(tmp_path, monkeypatch):
    """In a project where nothing is registered, looking leaves it so."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert read_status(tmp_path) == {"status": "ok", "pipelines": []}
    with pytest.raises(InputError, match="Nothing is registered"):
        read_lineage(tmp_path, "toys")
    assert not (tmp_path / "mlruns").exists()
