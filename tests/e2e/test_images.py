"""The main job on images: from a folder through every stage to a model that answers bytes."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.finetuning.test_image_models import make_base
from tests.strategies import KINDS, ask_every, run_every
from tests.support import begin_repository, make_environment, run_json, shell


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project of class folders, dark and light, begun by `init` on a tiny model."""
    place = tmp_path_factory.mktemp("images")
    root, source = begin_repository(place / "root"), place / "shades"
    (place / "base").mkdir()
    base = make_base("resnet", place / "base")
    draw = np.random.default_rng(0)
    for label, least in (("dark", 0), ("light", 127)):
        (source / label).mkdir(parents=True)
        for number in range(60):
            pixels = draw.integers(least, least + 128, (12, 10, 3), np.uint8)
            Image.fromarray(pixels).save(source / label / f"{number}.png")
    (root / ".gitignore").write_text("/data/\n/.tunesmith/\n/mlruns/\n", "utf-8")
    (root / "pipelines").mkdir()
    run_json(root, "init", "shades", "--data", str(source))
    shell(root, "git", "add", "-A")
    shell(root, "git", "commit", "-qm", "Begin")
    return root, base


@pytest.fixture(scope="module")
def first(project):
    """The JSON of the first run."""
    root, base = project
    words = (f"model.base={base}", "training.image_size=16", "training.precision=fp32")
    return run_json(root, "run", "shades", *(word for one in words for word in ("--set", one)))


def test_every_stage_runs_and_a_model_is_registered(first):
    """The baselines are those of images, and the served model was held against what was logged."""
    assert first["status"] == "registered"
    assert {stage["status"] for stage in first["stages"].values()} == {"ran"}
    assert first["metrics"]["test/accuracy"] > 0.9
    assert [one["name"] for one in first["baselines"]] == ["majority", "pixels", "frozen"]
    assert first["gate"]["serving"]["different"] == 0


def test_the_model_answers_bytes_in_a_fresh_process(project, first, tmp_path):
    """Loaded by its URI outside the project, it gives the logged predictions for files' bytes."""
    root, _ = project
    probe = f"""
import json, mlflow, pandas
from pathlib import Path
mlflow.set_tracking_uri("sqlite:///{root}/mlruns/mlflow.db")
logged = pandas.read_parquet(mlflow.artifacts.download_artifacts(
    run_id="{first["run_id"]}", artifact_path="predictions.parquet"))
model = mlflow.pyfunc.load_model("{first["model_uri"]}")
content = [(Path("{root}/data/shades") / path).read_bytes() for path in logged["image"]]
answers = model.predict(pandas.DataFrame({{"image": content}}))
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
    assert rows == 24
    assert same
    assert apart < 1e-5


def test_every_strategy_registers_a_model_that_answers(project, tmp_path):
    """Through the whole flow; each answers bytes in a fresh process as it was judged."""
    root, base = project
    words = ("training.image_size=16", "training.precision=fp32", "training.epochs=2")
    results = run_every(root, "shades", tmp_path, f"model.base={base}", "gate.minimum=0", *words)
    assert {one["status"] for one in results.values()} == {"registered"}
    data = root / "data" / "shades"
    asked = ask_every(root, results, tmp_path, ["image"], image="image", data=data)
    assert set(asked) == set(KINDS)
    for found, logged in asked.values():
        assert len(logged["prediction"]) == 24
        assert found["label"] == logged["prediction"]
