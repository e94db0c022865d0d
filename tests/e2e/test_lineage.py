"""Versions compared, begun from one another and made again: the command line on a tiny model."""

import html
import sys
from pathlib import Path

import pytest

from tasks.registry import fetch_json
from tests.support import begin_project, call, call_json, make_rows, run_json, shell, write_table

pytestmark = pytest.mark.usefixtures("one_server")


def record(project, rows):
    """Other rows, versioned and committed."""
    write_table(project / "data" / "toy" / "train.csv", rows)
    shell(project, sys.executable, "-m", "dvc", "add", "-q", "data")
    shell(project, "git", "commit", "-qam", "Other rows")


@pytest.fixture(scope="module")
def history(tmp_path_factory, bert_folder):
    """A project with version 1, version 2 that begins from 1 on other rows, and yet other rows.

    In a folder of its repository, whose name has a space.
    """
    top = tmp_path_factory.mktemp("history") / "my projects"
    project = begin_project(top, bert_folder, "toy")
    first = run_json(project, "run", "toy", "--set", "strategy.kind=head")
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    client.set_registered_model_alias("toy", "stable", "1")
    rows = make_rows(300, seed=1)
    relabelled = [(rows[0][0], "negative", rows[0][2]), *rows[1:-2]]
    longer = [(f"{text} and so on", label, "web") for text, label, _ in make_rows(40, seed=2)]
    record(project, relabelled + longer)
    second = run_json(project, "run", "toy", "--set", "model.base=models:/toy@stable")
    client.set_registered_model_alias("toy", "stable", "2")
    record(project, rows)
    return project, first, second


def test_a_warm_start_is_in_the_record(history):
    """The parent is the version that the alias meant then; weights, answers and seeds are kept."""
    project, first, second = history
    found = call_json(project, "lineage", "toy/2")
    assert found["parent"] == {"name": "toy", "version": "1"}
    assert found["base_model"] == "models:/toy@stable"
    assert found["not_reproducible"] == []
    assert set(found["weights"]) == {"model.safetensors", "head.safetensors"}
    assert found["seeds"]["training"] == 0
    assert found["metrics"] == second["metrics"]
    assert found["device"]["threads"] >= 1
    assert call_json(project, "lineage", "toy/1")["parent"] is None
    assert "local folder" in first["not_reproducible"][0]


def test_diff_says_what_became_of_the_rows(history):
    """One relabelled, two removed, forty added; the config, the base and the scores beside them."""
    project, _, second = history
    found = call_json(project, "diff", "toy/1", "toy/2")
    rows = found["data"]["rows"]
    assert (rows["added"], rows["removed"], rows["relabelled"]) == (40, 2, 1)
    assert (rows["before"], rows["after"]) == (300, 338)
    said = {shift["trait"]: shift["verdict"] for shift in found["data"]["shifts"]}
    assert said["text length in characters of the rows added"] == "a real shift"
    assert found["data"]["vocabulary"]["frequent"][0] == ["and", 40]
    assert {one["key"] for one in found["config"]} == {"strategy.kind", "model.base"}
    assert "parent.version" in {one["key"] for one in found["circumstances"]}
    assert found["scores"]["metrics"]["test/accuracy"][1] == second["metrics"]["test/accuracy"]
    assert found["code"] == found["libraries"] == found["notes"] == []
    words = call(project, "diff", "toy/1", "toy/2").stdout
    assert "40 rows added, 2 removed, 1 relabelled (300 -> 338)" in words
    assert "strategy.kind: head -> probe-then-tune" in words
    assert "a real shift: text length in characters" in words


def test_what_changed_in_the_data_is_kept_with_the_run(history):
    """The first model has nothing to compare with; the second says it in three places."""
    from mlflow import MlflowClient

    project, first, second = history
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    kept = [{one.path for one in client.list_artifacts(run["run_id"])} for run in (first, second)]
    assert "data_change.json" not in kept[0]
    change = fetch_json(client, second["run_id"], "data_change.json")
    assert (change["model_version"], change["rows"]["added"]) == ("1", 40)
    assert "What changed in the data" in client.get_model_version("toy", "2").description
    page = Path(client.download_artifacts(second["run_id"], "report.html")).read_text("utf-8")
    assert change["verdict"] in html.unescape(page)


def test_diff_with_the_present_looks_at_the_data(history):
    """The present rows are those of version 1 again; seen from 2 the other way round."""
    project, _, _ = history
    assert not call_json(project, "diff", "toy/1")["data"]["rows"]["added"]
    rows = call_json(project, "diff", "toy")["data"]["rows"]
    assert (rows["added"], rows["removed"], rows["relabelled"]) == (2, 40, 1)


def test_a_version_is_made_again_byte_for_byte(history):
    """From its own commit, data, config and parent, though all have moved on; nothing is left."""
    project, _, second = history
    found = run_json(project, "reproduce", "toy@challenger")
    assert found["differences"] == []
    assert found["status"] == found["expected"] == "identical"
    assert found["weights"] == {"model.safetensors": True, "head.safetensors": True}
    assert found["predictions_identical"] is True
    assert found["metrics"]["test/accuracy"] == [second["metrics"]["test/accuracy"]] * 2
    assert found["code"] == "installed"
    assert list((project / ".tunesmith" / "reproduce").iterdir()) == []
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    assert len(client.search_model_versions("name='toy'")) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reproduce", "toy/9"), "versions 1, 2"),
        (("reproduce", "doll"), "no model doll"),
        (("diff", "toy/1", "toy/9"), "versions 1, 2"),
        (("diff", "doll"), "no model doll"),
    ],
)
def test_what_there_is_not_is_the_users_fault(history, words, said):
    """A version or a model that is not registered: exit code 2, and what there is."""
    assert said in call_json(history[0], *words, code=2)["error"]
