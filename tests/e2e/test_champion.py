"""The gate in the flow: champion and challenger, both loaded by their URIs, on the same rows."""

import json
from pathlib import Path

import pytest

from tests.support import begin_project, call_json, run_json

pytestmark = pytest.mark.usefixtures("one_server")


@pytest.fixture(scope="module")
def project(tmp_path_factory, bert_folder):
    """A project of this module's own: what is registered here is counted elsewhere."""
    return begin_project(tmp_path_factory.mktemp("champion") / "root", bert_folder, "toy")


@pytest.fixture(scope="module")
def champion(project):
    """Version of the first run's model, as champion."""
    from mlflow import MlflowClient

    version = run_json(project, "run", "toy")["model_version"]
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    client.set_registered_model_alias("toy", "champion", version)
    return version


BEHAVIOUR = (
    "gate.behaviour=[{kind: minimum-functionality, name: plain words,"
    " inputs: [the film was good, the film was awful], expected: [positive, negative]},"
    " {kind: invariance, name: films and books, inputs: [the film was great],"
    " replace: {film: book}}]"
)


CHALLENGER = ("--set", "training.seed=5", "--set", "gate.margin=0.5", "--set", BEHAVIOUR,
              "--set", "gate.latency_ms=60000")  # fmt: skip


@pytest.fixture(scope="module")
def challenger(project, champion):
    """The JSON of a second run, whose model is compared with the champion."""
    return run_json(project, "run", "toy", *CHALLENGER)


def test_challenger_is_judged_against_the_champion(project, champion, challenger):
    """Loaded by URI in a fresh process, both answer the same rows; the verdict says it all."""
    gate = challenger["gate"]
    assert challenger["status"] == "registered"
    assert gate["champion"]["model_version"] == champion
    assert (gate["rows"], gate["judged_before"], gate["confidence"]) == (60, 0, 0.95)
    assert gate["interval"][0] <= gate["difference"] <= gate["interval"][1]
    assert gate["serving"]["rows"] == 60
    assert gate["serving"]["different"] == 0
    assert gate["serving"]["apart"] < 1e-5
    assert 0 < gate["serving"]["latency_ms"] < 60000
    assert [test["ok"] for test in gate["behaviour"]] == [True, True]
    assert {one["column"] for one in gate["slices"]} == {"source"}
    assert [(one["name"], one["rows"]) for one in gate["apart"]] == [
        ("as the champion was tested", 60)
    ]
    again = call_json(project, "run", "toy", *CHALLENGER)
    assert (again["status"], again["gate"]) == ("unchanged", gate)


def test_verdict_is_attached_to_the_run_and_the_version(project, champion, challenger):
    """verdict.json, the tag with its numbers, and the section of the report."""
    import mlflow
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    newest = client.get_model_version_by_alias("toy", "challenger")
    summary = json.loads(newest.tags["tunesmith.judgement"])
    assert summary["champion"]["model_version"] == champion
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlruns/mlflow.db")

    def read(name):
        return Path(
            mlflow.artifacts.download_artifacts(run_id=newest.run_id, artifact_path=name)
        ).read_text("utf-8")

    verdict = json.loads(read("verdict.json"))
    assert verdict["difference"] == summary["difference"]
    assert verdict["candidate"]["model_version"] == str(newest.version)
    assert verdict["candidate"]["model_uri"] == f"models:/toy/{newest.version}"
    assert json.loads(read("lineage.json"))["verdict"] == verdict
    assert f"toy version {newest.version} was registered" in read("report.html")
    assert "Against the champion on the same rows" in read("report.html")


def test_model_worse_than_the_champion_is_refused(project, challenger):
    """Above the floor and far below the champion: exit code 4, and no new version.

    The challenger was compared on the same rows before it, and is counted.
    """
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    before = len(client.search_model_versions("name='toy'"))
    words = ("--set", "gate.minimum=0.1", "--set", "strategy.kind=scratch",
             "--set", "training.epochs=1", "--set", "training.learning_rate=1e-9")  # fmt: skip
    result = run_json(project, "run", "toy", *words, code=4)
    assert result["gate"]["difference"] < -0.2
    assert result["gate"]["judged_before"] == 1
    assert "worse than the champion's" in result["gate"]["reasons"][0]
    assert result["gate"]["serving"]["different"] == 0
    assert result["gate"]["candidate"]["model_version"] is None
    assert result["gate"]["candidate"]["model_uri"].startswith("models:/m-")
    assert len(client.search_model_versions("name='toy'")) == before


def test_failed_behaviour_refuses(project, challenger):
    """A model that passes everything else does not get past an example that it must get right."""
    test = "{kind: minimum-functionality, name: odd, inputs: [a good film], expected: negative}"
    words = ("--set", "training.seed=5", "--set", "gate.margin=0.5",
             "--set", f"gate.behaviour=[{test}]")  # fmt: skip
    result = run_json(project, "run", "toy", *words, code=4)
    assert "behaviour test 'odd': 0 of 1 cases passed" in result["gate"]["reasons"][0]
    assert result["stages"]["train"]["status"] == "cached"


def test_a_champion_whose_files_are_gone_stops_a_run_at_once(project, champion):
    """Exit code 2 with the remedy, before anything is trained or recorded."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    place = client.get_model_version_download_uri("toy", champion).removeprefix("file://")
    weights = Path(place) / "artifacts" / "model" / "model.safetensors"
    kept = weights.read_bytes()
    weights.unlink()
    experiment = client.get_experiment_by_name("toy").experiment_id
    before = len(client.search_runs([experiment]))
    result = run_json(project, "run", "toy", "--set", "training.seed=77", code=2)
    assert "no artifacts/model/model.safetensors" in result["error"]
    assert "tunesmith rollback toy" in result["faults"][0]["remedy"]
    assert len(client.search_runs([experiment])) == before
    weights.write_bytes(kept)
