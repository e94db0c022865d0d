"""The champion in use: the scoring flow in Prefect, and MLflow's server over a registered model."""

import base64
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from finetuning.tables import read_cells
from tests.registered import begin_registry
from tests.scorers import register_light, register_model
from tests.servers import ask, await_status, take_port
from tests.support import make_environment


@pytest.fixture(scope="module")
def project(tmp_path_factory, empty_registry):
    """A project with a champion that needs no torch."""
    root = tmp_path_factory.mktemp("predictions")
    (root / "pipelines").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        client = begin_registry(root, empty_registry)
        register_light(root)
        client.set_registered_model_alias("toys", "champion", "1")
        yield root


FLOW = """
import json, sys
from pathlib import Path
from flows.environment import prepare_environment
prepare_environment(Path.cwd())
from flows.predict import predict
result = predict("toys", "in.csv", "out.csv", batch_rows=2)
print(json.dumps([result, predict.parameters.model_dump()["properties"]]))
"""


def test_the_flow_shows_in_prefect(project, prefect_server):
    """Its result, its table of labels and rows, its log, and parameters that a form can show."""
    (project / "in.csv").write_text('text\nshort\na long text\n""\nanother long text\n')
    done = subprocess.run(
        [sys.executable, "-c", FLOW],
        cwd=project,
        env=make_environment() | {"PREFECT_API_URL": prefect_server},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    result, parameters = json.loads(done.stdout.splitlines()[-1])
    assert (result["rows"], result["unscored_rows"]) == (4, 1)
    rows = read_cells(project / "out.csv", "")[1]
    assert [row[1] for row in rows] == ["short", "long", None, "long"]
    wanted = {"artifacts": {"key": {"any_": ["toys-predictions"]}}}
    (shown,) = json.loads(ask(f"{prefect_server}/artifacts/filter", wanted)[1])
    assert json.loads(shown["data"]) == [
        {"what": "label long", "rows": 2}, {"what": "label short", "rows": 1},
        {"what": "without an answer", "rows": 1}, {"what": "all", "rows": 4},
    ]  # fmt: skip
    assert "toys/1 scores" in done.stderr
    assert set(parameters) == {
        "model", "table", "output", "columns", "parameters", "batch_rows", "root",
    }  # fmt: skip
    assert all(one["description"] for one in parameters.values())


@contextlib.contextmanager
def serve(project, uri):
    """MLflow's own server over a registered model; its address."""
    port = take_port()
    words = ("models", "serve", "-m", uri, "--env-manager", "local", "-p", str(port))
    # MLflow starts uvicorn by its name, as from an environment that is active.
    programs = Path(sys.executable).parent
    environment = make_environment() | {
        "MLFLOW_TRACKING_URI": f"sqlite:///{project}/mlruns/mlflow.db",
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    with (project / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", *words],
            cwd=project,
            env=environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        ping = f"http://127.0.0.1:{port}/ping"
        await_status(ping, patience=150, process=process, log=project / "serve.log")
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)


def test_mlflow_serves_a_registered_model(project, tmp_path):
    """An image as base64 in, label and score out: what the README shows, for bytes as well."""
    from tasks.registry import connect
    from tests.finetuning.test_image_models import make_base

    base = make_base("resnet", tmp_path)
    register_model(project, "signs", "image-classification", base, {"image": "image"})
    connect(project).set_registered_model_alias("signs", "champion", "1")
    content = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (9, 8, 3), np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    text = base64.b64encode(content.getvalue()).decode()
    with serve(project, "models:/signs@champion") as address:
        status, answer = ask(address, {"dataframe_records": [{"image": text}]})
    assert status == 200
    (found,) = json.loads(answer)["predictions"]
    assert found["label"] in ("negative", "positive")
    assert 0.5 <= found["score"] <= 1
