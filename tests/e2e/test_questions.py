"""Question answering as a user runs it: SQuAD's json, on a tiny model, to a registered version."""

import json
import subprocess
import sys

import pytest

from tests.finetuning.question_rows import make_questions
from tests.strategies import KINDS, ask_every, run_every
from tests.support import begin_repository, make_environment, run_json, shell

PIPELINE = """
name: asked
problem: question-answering
data: {{path: data/asked, train: train.json}}
model: {{base: {base}}}
strategy: {{kind: full}}
training: {{epochs: 5, batch_size: 8, learning_rate: 5e-3, max_length: 48, stride: 8,
  precision: fp32, early_stopping: null}}
gate: {{minimum: 0.5}}
"""


def nest(rows):
    """Rows as a document in SQuAD's shape, version 2."""
    paragraphs = []
    for context, own in rows.groupby("context", sort=False):
        asked = []
        for number, row in own.iterrows():
            found = json.loads(row["answers"]) or {"text": [], "answer_start": []}
            pairs = zip(found["text"], found["answer_start"], strict=True)
            answers = [{"text": text, "answer_start": start} for text, start in pairs]
            asked.append(
                {
                    "id": str(number),
                    "question": row["question"],
                    "answers": answers,
                    "is_impossible": not answers,
                }
            )
        paragraphs.append({"context": context, "qas": asked})
    return {"version": "v2.0", "data": [{"title": "Colours", "paragraphs": paragraphs}]}


@pytest.fixture(scope="module")
def project(tmp_path_factory, bert_folder):
    """A project whose data are questions about colours, a third without an answer."""
    root = tmp_path_factory.mktemp("asked") / "root"
    (root / "pipelines").mkdir(parents=True)
    (root / "pipelines" / "asked.yaml").write_text(PIPELINE.format(base=bert_folder), "utf-8")
    (root / "data" / "asked").mkdir(parents=True)
    document = nest(make_questions(150, 1, silent=3))
    (root / "data" / "asked" / "train.json").write_text(json.dumps(document), "utf-8")
    (root / ".gitignore").write_text("/data/\n/.tunesmith/\n/mlruns/\n", "utf-8")
    begin_repository(root)
    shell(root, sys.executable, "-m", "dvc", "init", "-q")
    shell(root, sys.executable, "-m", "dvc", "add", "-q", "data")
    shell(root, "git", "add", "-A")
    shell(root, "git", "commit", "-qm", "Begin")
    return root


@pytest.fixture(scope="module")
def first(project):
    """The JSON of the first run."""
    return run_json(project, "run", "asked")


@pytest.mark.slow
def test_run_registers_a_model_that_answers(first):
    """Every stage ran, the test split is scored as SQuAD's script does, baselines beside it."""
    assert first["status"] == "registered"
    assert {stage["status"] for stage in first["stages"].values()} == {"ran"}
    metrics = first["metrics"]
    assert metrics["test/f1"] > 0.8
    assert metrics["test/exact_match"] > 0.8
    assert metrics["test/answerable_f1"] > 0.8
    assert metrics["test/unanswerable_f1"] > 0.8
    assert [baseline["name"] for baseline in first["baselines"]] == ["sentence", "silence"]
    assert first["gate"]["promote"] is True


@pytest.mark.slow
def test_strategies_are_compared_by_f1(project, first):
    """Answers are found from windows to texts, as a registered model finds them."""
    words = ("compare", "asked", "--strategies", "full,head", "--seeds", "1")
    compared = run_json(project, *words)
    means = {one["strategy"]: one["mean"] for one in compared["cells"]}
    assert (compared["metric"], compared["choice"]["strategy"]) == ("f1", "full")
    assert means["full"] > 0.8 > means["head"]
    assert compared["test"]["test/f1"] == pytest.approx(first["metrics"]["test/f1"])


@pytest.mark.slow
def test_registered_model_answers_in_a_fresh_process(project, first, tmp_path):
    """Loaded by its URI outside the project: the logged answers, and silence where nothing is."""
    probe = f"""
import json, mlflow, pandas
mlflow.set_tracking_uri("sqlite:///{project}/mlruns/mlflow.db")
model = mlflow.pyfunc.load_model("{first["model_uri"]}")
contexts = [
    "one two . the film , it was green and very fine .",
    "one . the plot , it was not very fine .",
]
answers = model.predict(pandas.DataFrame(
    {{"question": ["the film ?", "is this plot ?"], "context": contexts}}))
print(json.dumps([list(answers.columns), list(answers["answer"])]))
"""
    done = subprocess.run(
        [sys.executable, "-c", probe],
        cwd=tmp_path,
        env=make_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    columns, answers = json.loads(done.stdout.splitlines()[-1])
    assert columns == ["answer", "score"]
    assert answers == ["green", ""]


@pytest.mark.slow
def test_unchanged_rerun(project, first):
    """Nothing changed is said at once."""
    assert run_json(project, "run", "asked")["status"] == "unchanged"


@pytest.mark.slow
def test_every_strategy_registers_a_model_that_answers(project, tmp_path):
    """Through the whole flow; each finds in a fresh process what it was judged by."""
    settings = ("training.epochs=2", "gate.minimum=0")
    results = run_every(project, "asked", tmp_path, *settings)
    assert {one["status"] for one in results.values()} == {"registered"}
    contexts = {"context": make_questions(150, 1, silent=3)["context"].tolist()}
    asked = ask_every(project, results, tmp_path, ["question"], beside=contexts)
    assert set(asked) == set(KINDS)
    for found, logged in asked.values():
        assert len(logged["prediction"]) > 10
        assert found["answer"] == logged["prediction"]


@pytest.mark.slow
def test_wrong_data_end_with_their_exit_code(project, first):
    """Answers that stand nowhere end with exit code 3; the data stay so for what comes behind."""
    place = project / "data" / "asked" / "train.json"
    damaged = place.read_text("utf-8").replace('"text": "green"', '"text": "purple"')
    place.write_text(damaged, "utf-8")
    shell(project, sys.executable, "-m", "dvc", "add", "-q", "data")
    result = run_json(project, "run", "asked", code=3)
    assert result["status"] == "invalid"
    assert "stands in its context" in json.dumps(result)
