"""What the main job gives away: no connection leaves this machine, and no secret its place."""

import json
import os
import secrets as tokens
import subprocess
import sys

import pytest

from tests.guard import find_secrets, post_guard, read_guard
from tests.support import ENVIRONMENT, begin_repository, make_rows, shell, write_table

NAMES = (
    *("MLFLOW_TRACKING_PASSWORD", "AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "PREFECT_API_AUTH_STRING"),
    *("TUNESMITH_WEBHOOK_SECRET", "PREFECT_API_KEY", "SOMETHING_OF_MY_OWN", "DATABASE_URL"),
)


@pytest.fixture(scope="module")
def spied(tmp_path_factory, bert_folder):
    """`init` and `run` with secrets everywhere and telemetry on: the project, guard and output."""
    place = tmp_path_factory.mktemp("spied")
    root, guard = place / "project", place / "guard"
    planted = {name: tokens.token_hex(12) for name in (*NAMES, "store", "dvc remote", "git remote")}
    given = {name: planted[name] for name in NAMES}
    login = "admin:" + given["PREFECT_API_AUTH_STRING"]
    away = ("PREFECT_", "MLFLOW_", "HF_", "DVC_", "GX_", "DO_NOT_TRACK")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(away)},
        **{name: value for name, value in ENVIRONMENT.items() if name != "HF_HUB_OFFLINE"},
        **given,
        "PREFECT_API_AUTH_STRING": login,
        "TUNESMITH_STORE": f"ftp://me:{planted['store']}@127.0.0.1:1/store",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "true",
        "GX_ANALYTICS_ENABLED": "true",
        **{name: str(place / name) for name in ("DVC_GLOBAL_CONFIG_DIR", "DVC_SITE_CACHE_DIR")},
        "GIT_CEILING_DIRECTORIES": str(place),
    }
    environment = post_guard(guard, environment)
    begin_repository(root)
    write_table(place / "rows.csv", make_rows(120, seed=1))
    shell(root, sys.executable, "-m", "dvc", "init", "-q")
    address = "https://me:{}@git.example.org/team/toy.git"
    shell(root, "git", "remote", "add", "origin", address.format(planted["git remote"]))
    address = f"https://me:{planted['dvc remote']}@data.example.org/store"
    shell(root, sys.executable, "-m", "dvc", "remote", "add", "-q", "--default", "there", address)
    said = ""
    settings = (
        f"model.base={bert_folder}", "training.epochs=1", "training.max_length=16",
        "training.batch_size=8", "gate.minimum=0", "strategy.kind=full",
    )  # fmt: skip
    for words in (
        ("init", "toy", "--data", str(place / "rows.csv")),
        ("run", "toy", *(word for one in settings for word in ("--set", one))),
    ):
        result = subprocess.run(
            [sys.executable, "-m", "flows.cli", *words, "--json"],
            cwd=root, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        said += result.stdout + result.stderr
        assert result.returncode == 0, said
    assert json.loads(result.stdout)["status"] == "registered"
    (root / "said.txt").write_text(said)
    return root, guard, planted


@pytest.mark.slow
def test_no_connection_leaves_this_machine(spied):
    """Every process was watched; none asked for another host, whatever library it imported."""
    tried, processes = read_guard(spied[1])
    assert tried == ""
    assert processes >= 4  # both commands, Prefect's server, the model in a process of its own


@pytest.mark.slow
def test_no_secret_is_written(spied):
    """Neither into the store, the registry, artifacts, logs and databases, nor to the terminal."""
    root, _, planted = spied
    (root / "proof.txt").write_text(planted["HF_TOKEN"])
    assert find_secrets(root, planted, [root / ".git/config", root / ".dvc/config"]) == [
        "HF_TOKEN in proof.txt"
    ]
    assert (root / "mlruns/mlflow.db").is_file()
    assert list((root / ".tunesmith/prefect").glob("*.db"))
