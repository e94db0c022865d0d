"""What tests share that start processes of their own: projects, tables, commands."""

import contextlib
import csv
import json
import os
import random
import subprocess
import sys

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
        if not name.startswith(("MLFLOW_", "PREFECT_")) or name == "PREFECT_API_URL"
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


def run(project, *words, code=0, environment=None):
    """Run a command in the project; its exit code is checked, and that no traceback is shown."""
    result = subprocess.run(
        [sys.executable, "-m", "flows.cli", *words],
        cwd=project,
        env=environment or make_environment(),
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


def call(project, *words, code=0):
    """A command in this process, for those that need no process of their own; checked likewise."""
    from typer.testing import CliRunner

    from flows.cli import app

    with contextlib.chdir(project):
        result = CliRunner().invoke(app, words)
    assert result.exit_code == code, result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result


def call_json(project, *words, code=0):
    """The one object of a command with --json, in this process."""
    return json.loads(call(project, *words, "--json", code=code).stdout)


def shell(project, *words):
    """Run a tool in the project."""
    subprocess.run(words, cwd=project, check=True, capture_output=True, timeout=120)


def begin_project(root, base, *names):
    """A project in a git repository, with versioned data and pipelines on a tiny model."""
    (root / "pipelines").mkdir(parents=True)
    for name in names:
        write_table(root / "data" / name / "train.csv", make_rows(300, seed=1))
        (root / "pipelines" / f"{name}.yaml").write_text(
            f"""
name: {name}
problem: text-classification
data: {{path: data/{name}, slices: [source]}}
model: {{base: {base}}}
training: {{epochs: 6, batch_size: 8, learning_rate: 3e-3, max_length: 16,
  precision: fp32, early_stopping: null}}
gate: {{minimum: 0.5}}
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


def begin_repository(root):
    """Make a folder a git repository that has an author."""
    root.mkdir(parents=True, exist_ok=True)
    shell(root, "git", "init", "-q")
    shell(root, "git", "config", "user.email", "tester@example.org")
    shell(root, "git", "config", "user.name", "tester")
    return root
