"""A language model from a text file to the registry, as a user runs it, on a tiny base model."""

import json
import random
import subprocess
import sys

import pytest

from tests.strategies import KINDS, ask_every, run_every
from tests.support import begin_repository, make_environment, run_json, shell

SUBJECTS = ["film", "plot", "cast", "music", "story", "book"]
JUDGED = ["good", "great", "fine", "superb"]


def make_text(paragraphs):
    """Paragraphs of sentences of one pattern, enough for some hundred passages."""
    draw = random.Random(0)
    return "\n\n".join(
        " ".join(
            f"the {draw.choice(SUBJECTS)} was {draw.choice(JUDGED)} {number} ."
            for number in draw.choices(["one", "two", "three", "four", "five"], k=16)
        )
        for _ in range(paragraphs)
    )


@pytest.fixture(scope="module")
def project(tmp_path_factory, llama_folder):
    """A project with one text file."""
    root = tmp_path_factory.mktemp("language") / "root"
    (root / "pipelines").mkdir(parents=True)
    (root / "data" / "tales").mkdir(parents=True)
    (root / "data" / "tales" / "tales.txt").write_text(make_text(250), "utf-8")
    (root / "pipelines" / "tales.yaml").write_text(
        f"""
name: tales
problem: causal-lm
data: {{path: data/tales, train: tales.txt}}
model: {{base: {llama_folder}}}
strategy: {{kind: full}}
training: {{epochs: 2, batch_size: 8, learning_rate: 1e-2, max_length: 64, precision: fp32}}
gate: {{minimum: 4.0}}
""",
        "utf-8",
    )
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
    return run_json(project, "run", "tales")


def test_text_file_ends_as_a_version(first):
    """Perplexity is under the ceiling and under what the untouched base model and n-grams give."""
    assert first["status"] == "registered"
    assert first["metrics"]["test/perplexity"] < 4
    assert first["metrics"]["test/word_perplexity"] > 1
    scores = {one["name"]: one["scores"]["perplexity"] for one in first["baselines"]}
    assert set(scores) == {"ngram", "base"}
    assert first["metrics"]["test/perplexity"] < scores["base"] / 2
    assert first["gate"]["metric"] == "perplexity"


def test_version_writes_in_a_fresh_process(project, first, tmp_path):
    """By its URI outside the project it scores as it was judged, and goes on as it learned."""
    probe = f"""
import json, mlflow, pandas
mlflow.set_tracking_uri("sqlite:///{project}/mlruns/mlflow.db")
logged = pandas.read_parquet(mlflow.artifacts.download_artifacts(
    run_id="{first["run_id"]}", artifact_path="predictions.parquet"))
model = mlflow.pyfunc.load_model("{first["model_uri"]}")
answers = model.predict(logged[["text"]], params={{"max_new_tokens": 0}})
written = model.predict([{{"text": "the film was"}}], params={{"max_new_tokens": 4}})
drawn = [model.predict([{{"text": "the"}}], params={{"temperature": 1.0, "seed": seed}})
         ["completion"][0] for seed in (1, 1, 2)]
print(json.dumps([
    len(logged), (answers["loss"] - logged["loss"]).abs().max().item(),
    written["completion"][0].split(), drawn,
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
    rows, apart, written, drawn = json.loads(result.stdout.splitlines()[-1])
    assert rows > 10
    assert apart < 1e-5
    assert written[0] in JUDGED
    assert drawn[0] == drawn[1] != drawn[2]


def test_rerun_is_unchanged(project, first):
    """Nothing changed: the same version answers."""
    again = run_json(project, "run", "tales")
    assert (again["status"], again["model_version"]) == ("unchanged", first["model_version"])


def test_strategies_are_compared_by_perplexity(project, first):
    """The lowest is chosen; trained parameters and a part of the passages are the trial's own."""
    words = ("compare", "tales", "--strategies", "full,lora", "--sizes", "20,all", "--seeds", "1")
    compared = run_json(project, *words, "--set", "training.epochs=1")
    assert compared["metrics"] == ["perplexity", "word_perplexity"]
    largest = max(one["size"] for one in compared["cells"])
    means = {one["strategy"]: one["mean"] for one in compared["cells"] if one["size"] == largest}
    assert compared["choice"]["strategy"] == min(means, key=means.get)
    assert compared["choice"]["difference"] == pytest.approx(abs(means["full"] - means["lora"]))
    assert compared["test"]["test/perplexity"] > 1
    trained = {one["strategy"]: one["trained"] for one in compared["cells"]}
    assert trained["lora"] < trained["full"]
    few = next(one["mean"] for one in compared["cells"] if one["size"] == 20)
    assert few > means["full"]


def test_every_strategy_registers_a_model_that_answers(project, tmp_path):
    """Through the whole flow; each scores in a fresh process what it was judged by."""
    settings = ("training.epochs=1", "gate.minimum=1000")
    results = run_every(project, "tales", tmp_path, *settings)
    assert {one["status"] for one in results.values()} == {"registered"}
    asked = ask_every(project, results, tmp_path, ["text"], parameters={"max_new_tokens": 0})
    assert set(asked) == set(KINDS)
    for found, logged in asked.values():
        assert len(logged["loss"]) > 10
        assert found["loss"] == pytest.approx(logged["loss"], abs=1e-4)
