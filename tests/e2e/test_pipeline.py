"""The main job as a user runs it: the command line, in a project of its own, on a tiny model."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.guard import find_secrets, read_guard
from tests.support import call_json, make_environment, run_json


def test_first_run_registers_a_model(first):
    """A first run passes every stage, learns the toy rule and registers version 1."""
    assert first["status"] == "registered"
    assert first["model_uri"] == "models:/toy/1"
    assert first["metrics"]["test/accuracy"] > 0.9
    assert list(first["stages"]) == [
        "snapshot", "validate", "encode", "train", "evaluate", "register",
    ]  # fmt: skip
    assert {stage["status"] for stage in first["stages"].values()} == {"ran"}
    assert {stage["why"] for stage in first["stages"].values()} == {"first run"}
    assert "toy version 1 was registered" in Path(first["report"]).read_text("utf-8")
    assert [baseline["name"] for baseline in first["baselines"]] == ["majority", "tfidf", "frozen"]


def test_no_connection_leaves_this_machine(spied):
    """Every process was watched; none asked for another host, whatever library it imported."""
    tried, processes = read_guard(spied[1])
    assert tried == ""
    assert processes >= 3  # the command, Prefect's server, the model in a process of its own


def test_no_secret_is_written(spied, project):
    """Neither into the store, the registry, artifacts, logs and databases, nor to the terminal."""
    done, _, planted = spied
    said = project / ".tunesmith" / "said.txt"
    said.write_text(done.stdout + done.stderr)
    proof = project / ".tunesmith" / "proof.txt"
    proof.write_text(planted["HF_TOKEN"])
    try:
        assert find_secrets(project, planted) == ["HF_TOKEN in .tunesmith/proof.txt"]
    finally:
        proof.unlink()
        said.unlink()
    assert (project / "mlruns/mlflow.db").is_file()
    assert list((project / ".tunesmith/prefect").glob("*.db"))


def test_unchanged_rerun_imports_nothing_heavy(project, first):
    """A rerun with nothing changed answers with the same version, without Prefect or torch."""
    probe = (
        "import sys, json; from pathlib import Path; from flows.running import run_pipeline;"
        "result = run_pipeline(Path('.').resolve(), 'toy', [], True);"
        "heavy = [name for name in ('torch', 'prefect', 'mlflow', 'pandas', 'transformers')"
        " if name in sys.modules];"
        "print(json.dumps([result['status'], result['model_version'], heavy]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=project,
        env=make_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(result.stdout) == ["unchanged", "1", []]


def test_edited_data_must_be_versioned_first(project, first):
    """Data that differs from data.dvc is refused with the command that mends it."""
    table = project / "data" / "toy" / "train.csv"
    before = table.read_bytes()
    try:
        table.write_bytes(before + b"one more film,positive,web\n")
        result = call_json(project, "run", "toy", code=2)
        assert "dvc add data" in result["faults"][0]["remedy"]
    finally:
        table.write_bytes(before)
    assert call_json(project, "run", "toy")["status"] == "unchanged"


def test_model_answers_in_a_fresh_process_as_it_was_judged(project, first, tmp_path):
    """The registered model, loaded by its URI outside the project, gives the logged predictions."""
    probe = f"""
import json, sys, mlflow, pandas
mlflow.set_tracking_uri("sqlite:///{project}/mlruns/mlflow.db")
logged = pandas.read_parquet(mlflow.artifacts.download_artifacts(
    run_id="{first["run_id"]}", artifact_path="predictions.parquet"))
model = mlflow.pyfunc.load_model("{first["model_uri"]}")
answers = model.predict(logged[["text"]])
print(json.dumps([
    len(logged), (answers["label"] == logged["prediction"]).all().item(),
    (answers["score"] - logged["score"]).abs().max().item(),
]))
"""
    result = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env=make_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    rows, same, apart = json.loads(result.stdout.splitlines()[-1])
    assert rows == 60
    assert same
    assert apart < 1e-5


def test_version_keeps_its_whole_record(project, first):
    """The run has the report, the validation pages and the records; the files hold no pickle."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    files = {
        file.path
        for folder in ("", "validation")
        for file in client.list_artifacts(first["run_id"], folder)
    }
    assert {
        "report.html", "verdict.json", "lineage.json", "pipeline.yaml", "predictions.parquet",
        "validation/index.html", "validation/results.json",
    } <= files  # fmt: skip
    version = client.get_model_version("toy", "1")
    assert version.tags["tunesmith.verdict"] == "passed"
    assert version.tags["tunesmith.data_version"] == first["data_version"]
    assert version.description
    assert first["alias"] == "challenger"
    kept = [path.name for path in (project / "mlruns" / "artifacts").rglob("*") if path.is_file()]
    assert any(name.endswith(".safetensors") for name in kept)
    assert not [name for name in kept if name.endswith((".pkl", ".bin", ".pt", ".pickle"))]


def test_artifacts_load_with_from_pretrained(project, first):
    """Transformers' own classes read the registered weights and tokenizer."""
    import mlflow
    from transformers import AutoModel, AutoTokenizer

    mlflow.set_tracking_uri(f"sqlite:///{project}/mlruns/mlflow.db")
    folder = Path(mlflow.artifacts.download_artifacts(first["model_uri"])) / "artifacts" / "model"
    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    assert model(**tokenizer("a lovely film", return_tensors="pt")).last_hidden_state.ndim == 3


def test_lineage_names_what_made_the_version(project, first):
    """`lineage` gives the commit, the data version, the seeds and the code of a version."""
    record = call_json(project, "lineage", "toy@challenger")
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=project, capture_output=True, text=True, check=True
    )
    assert record["commit"]["sha"] == commit.stdout.strip()
    assert record["data_version"] == first["data_version"]
    assert record["config"]["training"]["epochs"] == 6
    assert "finetuning.training" in record["code"]
    assert record["asked_by"] == "tester"


def test_deleted_version_is_registered_again(project, first):
    """A version that was deleted in the registry is not passed off as up to date."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    client.delete_model_version("toy", "1")
    result = run_json(project, "run", "toy")
    assert result["status"] == "registered"
    assert result["stages"]["train"]["status"] == "cached"
    assert result["stages"]["register"]["status"] == "ran"
    there = {str(one.version) for one in client.search_model_versions("name='toy'")}
    assert result["model_version"] in there
    assert "1" not in there


@pytest.fixture(scope="module")
def changed(project, first):
    """The JSON of a run with another learning rate, whose model is promoted by itself."""
    from mlflow import MlflowClient

    words = ("--set", "training.learning_rate=4e-3", "--set", "gate.promote=auto")
    yield run_json(project, "run", "toy", *words)
    # Other modules' models are judged without a champion.
    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    client.delete_registered_model_alias("toy", "champion")


def test_changed_rate_trains_again_and_says_why(changed):
    """Another learning rate leaves the data stages alone and names the key and both values."""
    stages = {name: stage["status"] for name, stage in changed["stages"].items()}
    assert stages == {
        "snapshot": "cached", "validate": "cached", "encode": "cached",
        "train": "ran", "evaluate": "ran", "register": "ran",
    }  # fmt: skip
    assert "training.learning_rate changed 0.003 -> 0.004" in changed["stages"]["train"]["why"]


def test_automatic_promotion_is_recorded_like_any_other(project, changed):
    """With `promote: auto` the version is champion, and the history says by whom and why."""
    assert (changed["status"], changed["alias"]) == ("promoted", "champion")
    told = call_json(project, "history", "toy")
    assert (told["champion"], told["challenger"]) == (changed["model_version"], None)
    (period,) = told["history"]
    assert (period["by"], period["why"]) == ("tester", "gate.promote: auto")
    assert period["verdict"]["reasons"] == changed["gate"]["reasons"]


def test_refused_model_is_not_registered(project, first):
    """A floor that cannot be reached ends with exit code 4 and no new version."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{project}/mlruns/mlflow.db")
    before = len(client.search_model_versions("name='toy'"))
    words = ("run", "toy", "--set", "gate.minimum=1.0", "--set", "strategy.kind=scratch",
             "--set", "training.epochs=1", "--set", "training.learning_rate=1e-9")  # fmt: skip
    result = run_json(project, *words, code=4)
    assert result["status"] == "refused"
    assert result["gate"]["promote"] is False
    assert "below the floor 1" in result["gate"]["reasons"][0]
    assert result["model_version"] is None
    again = run_json(project, *words, code=4)
    assert again["run_id"] == result["run_id"]
    assert len(client.search_model_versions("name='toy'")) == before
