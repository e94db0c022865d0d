"""The main job as a user runs it: the command line, in a project of its own, on a tiny model."""

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = ["good", "great", "fine", "superb"]
BAD = ["bad", "poor", "awful", "dull"]
FILLER = ["film", "story", "the", "a", "plot", "cast", "music", "book", "was", "is"]
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "USER": "tester",
}


def make_environment():
    """Environment of the tests, without what MLflow and Prefect have put into it."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MLFLOW_", "PREFECT_"))
    }
    return kept | ENVIRONMENT


def make_rows(count, seed):
    """Sentences whose label is decided by one word."""
    draw = random.Random(seed)
    rows = []
    for number in range(count):
        label = ("positive", "negative")[number % 2]
        words = [draw.choice(FILLER) for _ in range(6)]
        words.insert(draw.randrange(7), draw.choice(GOOD if label == "positive" else BAD))
        rows.append((f"{' '.join(words)} {number}", label, draw.choice(["web", "mail"])))
    return rows


def write_table(path, rows):
    """Write rows as csv with a header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["text", "label", "source"])
        writer.writerows(rows)


def run(project, *words, code=0):
    """Run a command in the project; its exit code is checked, and that no traceback is shown."""
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=project,
        env=make_environment(),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == code, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return result


def run_json(project, *words, code=0):
    """Run a command with --json; standard output must be exactly one object."""
    result = run(project, *words, "--json", code=code)
    return json.loads(result.stdout)


def shell(project, *words):
    """Run a tool in the project."""
    subprocess.run(words, cwd=project, check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def project(tmp_path_factory, bert_folder):
    """A project in a git repository, with versioned data and a pipeline on a tiny model."""
    root = tmp_path_factory.mktemp("project")
    write_table(root / "data" / "toy" / "train.csv", make_rows(300, seed=1))
    (root / "pipelines").mkdir()
    (root / "pipelines" / "toy.yaml").write_text(
        f"""
name: toy
problem: text-classification
data: {{path: data/toy, slices: [source]}}
model: {{base: {bert_folder}}}
training: {{epochs: 6, batch_size: 8, learning_rate: 3e-3, max_length: 16,
  precision: fp32, early_stopping: null}}
gate: {{minimum: 0.5}}
""",
        "utf-8",
    )
    (root / ".gitignore").write_text("/data/\n/.tunesmith/\n/mlruns/\n", "utf-8")
    shell(root, "git", "init", "-q")
    shell(root, "git", "config", "user.email", "tester@example.org")
    shell(root, "git", "config", "user.name", "tester")
    shell(root, sys.executable, "-m", "dvc", "init", "-q")
    shell(root, sys.executable, "-m", "dvc", "add", "-q", "data")
    shell(root, "git", "add", "-A")
    shell(root, "git", "commit", "-qm", "Begin")
    return root


@pytest.fixture(scope="module")
def first(project):
    """The JSON of the first run."""
    return run_json(project, "run", "toy")


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
    assert [baseline["name"] for baseline in first["baselines"]] == ["majority", "tfidf", "frozen"]


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
    assert client.get_model_version_by_alias("toy", "challenger").version == version.version
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
    record = run_json(project, "lineage", "toy@challenger")
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
    assert [str(one.version) for one in client.search_model_versions("name='toy'")] == [
        result["model_version"]
    ]


def test_changed_rate_trains_again_and_says_why(project, first):
    """Another learning rate leaves the data stages alone and names the key and both values."""
    result = run_json(project, "run", "toy", "--set", "training.learning_rate=4e-3")
    stages = {name: stage["status"] for name, stage in result["stages"].items()}
    assert stages == {
        "snapshot": "cached", "validate": "cached", "encode": "cached",
        "train": "ran", "evaluate": "ran", "register": "ran",
    }  # fmt: skip
    assert "training.learning_rate changed 0.003 -> 0.004" in result["stages"]["train"]["why"]


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


def test_automatic_promotion_is_recorded_like_any_other(project, first):
    """With `promote: auto` the version is champion, and the history says by whom and why."""
    result = run_json(project, "run", "toy", "--set", "gate.promote=auto")
    assert (result["status"], result["alias"]) == ("promoted", "champion")
    told = run_json(project, "history", "toy")
    assert (told["champion"], told["challenger"]) == (result["model_version"], None)
    (period,) = told["history"]
    assert (period["by"], period["why"]) == ("tester", "gate.promote: auto")
    assert period["verdict"]["reasons"] == result["gate"]["reasons"]


def test_wrong_input_lists_all_faults(project):
    """Wrong keys and values end with exit code 2, each with its key and remedy."""
    words = ("run", "toy", "--set", "training.epochs=0", "--set", "modell.base=x")
    result = run_json(project, *words, code=2)
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
    result = run_json(project, "run", "toy", "--set", override, code=2)
    assert key in {fault["key"] for fault in result["faults"]}


def test_edited_data_must_be_versioned_first(project, first):
    """Data that differs from data.dvc is refused with the command that mends it."""
    table = project / "data" / "toy" / "train.csv"
    before = table.read_bytes()
    try:
        table.write_bytes(before + b"one more film,positive,web\n")
        result = run_json(project, "run", "toy", code=2)
        assert "dvc add data" in result["faults"][0]["remedy"]
    finally:
        table.write_bytes(before)
    assert run_json(project, "run", "toy")["status"] == "unchanged"


def test_damaged_data_stops_the_run(project, first):
    """A label that is not allowed ends with exit code 3, shows the rows, registers nothing."""
    result = run_json(project, "run", "toy", "--set", "data.labels=[positive, neutral]", code=3)
    assert result["status"] == "invalid"
    assert "train.csv row 2: 'negative'" in result["error"]


def test_missing_column_and_slice_are_listed_together(project, first):
    """Several wrong columns are all named, with the columns that there are."""
    words = ("--set", "data.columns.text=body", "--set", "data.slices=[shop]")
    result = run_json(project, "run", "toy", *words, code=2)
    assert {fault["key"] for fault in result["faults"]} == {"data.columns.text", "data.slices[0]"}
    assert "source" in result["faults"][0]["remedy"]
