"""`tunesmith compare` as a user runs it, on a tiny model."""

import json
from pathlib import Path

import pytest

from tests.support import begin_project, call, call_json, run_json

pytestmark = pytest.mark.usefixtures("one_server")

WORDS = ("compare", "toy", "--strategies", "lora,scratch", "--sizes", "40,all",
         "--seeds", "2", "--set", "training.epochs=1")  # fmt: skip


@pytest.fixture(scope="module")
def project(tmp_path_factory, bert_folder):
    """A project with one pipeline."""
    return begin_project(tmp_path_factory.mktemp("compared"), bert_folder, "toy")


@pytest.fixture(scope="module")
def first(project):
    """The JSON of the first comparison."""
    return run_json(project, *WORDS)


@pytest.mark.slow
def test_comparison_says_which_strategy(project, first):
    """Every strategy, size and seed was tried, and the winner alone was scored on test."""
    assert first["status"] == "compared"
    tried = {(one["strategy"], one["size"], one["seed"]) for one in first["trials"]}
    assert tried == {
        (kind, size, seed)
        for kind in ("lora", "scratch") for size in (40, 216) for seed in (0, 1)
    }  # fmt: skip
    at_most = max(one["mean"] for one in first["cells"] if one["size"] == 216)
    chosen = first["choice"]["strategy"]
    assert at_most == next(
        one["mean"] for one in first["cells"] if (one["strategy"], one["size"]) == (chosen, 216)
    )
    assert f"this data deserves {chosen}" in first["sentence"]
    assert "from fewer than 3 sizes" in first["scratch"]["sentence"] or first["scratch"]["rows"]
    trained = {one["strategy"]: one["trained"] for one in first["cells"]}
    assert trained["lora"] == 66 + 2 * 2 * 2 * 8 * 32
    assert trained["scratch"] > 10_000
    assert all(one["memory"] > 50 * 2**20 and one["seconds"] > 0 for one in first["cells"])
    assert len(list((project / ".tunesmith" / "store" / "evaluate").iterdir())) == 1
    page = Path(first["page"]).read_text("utf-8")
    assert first["sentence"] in page.replace("&#43;", "+")
    assert "<script" not in page
    kept = json.loads((Path(first["page"]).parent / "comparison.json").read_text("utf-8"))
    assert kept["choice"] == first["choice"]


@pytest.mark.slow
def test_nested_runs_in_mlflow(project, first):
    """One run a trial below the comparison's, which holds the page."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    experiment = client.get_experiment_by_name("toy").experiment_id
    below = client.search_runs(
        [experiment], f"tags.`mlflow.parentRunId` = '{first['run_id']}'", max_results=100
    )
    assert len(below) == 8
    assert {run.info.status for run in below} == {"FINISHED"}
    scores = {
        (one["strategy"], str(one["size"]), str(one["seed"])): one["score"]
        for one in first["trials"]
    }
    for one in below:
        own = one.data.params
        key = (own["strategy"], own["size"], own["seed"])
        assert one.data.metrics["validation/accuracy"] == pytest.approx(scores[key])
    files = {file.path for file in client.list_artifacts(first["run_id"])}
    assert files == {"comparison.html", "comparison.json"}


@pytest.mark.slow
def test_a_comparison_goes_on_from_what_is_kept(project, first):
    """Asked again, a lost trial alone runs again, and all comes out the same, in the same run."""
    trials = sorted((project / ".tunesmith" / "store" / "trial").iterdir())
    (trials[0] / "manifest.json").unlink()
    again = run_json(project, *WORDS)
    assert sorted(one["status"] for one in again["trials"]) == ["cached"] * 7 + ["ran"]
    assert again["run_id"] == first["run_id"]
    assert [one["score"] for one in again["trials"]] == [one["score"] for one in first["trials"]]


@pytest.mark.slow
def test_wrong_words_are_listed_together(project):
    """Unknown strategies and sizes end with exit code 2, all named; so does a size too large."""
    words = ("compare", "toy", "--strategies", "full,magic", "--sizes", "0,many")
    result = call_json(project, *words, code=2)
    assert [fault["found"] for fault in result["faults"]] == ["'magic'", "'0'", "'many'"]
    result = call_json(project, "compare", "toy", "--strategies", "freeze", code=2)
    assert "strategy.groups=N" in result["faults"][0]["remedy"]
    said = call(project, "compare", "toy", "--sizes", "9999", code=2).stderr
    assert "There are 216 training rows" in said
