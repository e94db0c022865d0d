"""Runs that are forked from a process which has imported what they need, and never stale."""

import json
import os
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from flows import warm_starts
from flows.warm_starts import become_engine, begin_imports
from tasks import forking
from tasks.forking import run_apart

pytestmark = pytest.mark.slow

STARTED = 7  # the exit code of what stands for the interpreter that Prefect would start
COMMAND = [sys.executable, "-c", f"raise SystemExit({STARTED})"]
UNFIT = 9  # for being forked: a thread more, or a GPU in use
# What a script sees that should know the libraries and nothing of this project.
SEEN = """
import json, os, sys
known = [name for name in sys.modules if name.partition(".")[0] in ("flows", "tasks", "finetuning")]
print(json.dumps({
    "words": sys.argv[1:], "environment": dict(os.environ), "folder": os.getcwd(), "known": known,
    "torch": "torch" in sys.modules, "parent": os.getppid(),
}))
sys.exit(5)
"""


@pytest.fixture(scope="module")
def context():
    """The fork server, with everything imported."""
    return begin_imports()


def run(context, target, *words):
    """A forked process's exit code."""
    process = context.Process(target=target, args=words)
    process.start()
    process.join(120)
    return process.exitcode


def edit_code():
    """Let a source file differ from what was imported, for this process."""
    forking._imported[-1] = (*forking._imported[-1][:-1], ("edited", 1))


def engine_on_changed_code(folder):
    """What `become_engine` does once the code is not what was imported."""
    edit_code()
    become_engine(COMMAND, dict(os.environ), folder)


def look_at_process(folder):
    """A temporary folder that only the end of the process removes, and what could not be forked."""
    look_at_process.kept = tempfile.TemporaryDirectory()
    (folder / "said").write_text(look_at_process.kept.name, "utf-8")
    if threading.active_count() > 1 or sys.modules["torch"].cuda.is_initialized():
        raise SystemExit(UNFIT)
    warm_starts.ENGINE = "this"  # a module of the standard library in place of Prefect's engine
    become_engine(COMMAND, dict(os.environ), folder)


def script_in_forked_run(folder):
    """What a run does that asks a registered model."""
    code, said = run_apart(folder / "script.py", ["a"], {"ONE": "1"}, folder, 60)
    (folder / "result").write_text(json.dumps([code, said.splitlines()[-1]]), "utf-8")


def test_a_run_is_prefects_engine_in_a_forked_process(context, tmp_path):
    """The engine itself answers, here that there is no such run, and not the other interpreter."""
    environment = {**os.environ, "PREFECT__FLOW_RUN_ID": "none"}
    assert run(context, become_engine, COMMAND, environment, tmp_path) == 1


def test_changed_code_is_never_run_from_memory(context, tmp_path):
    """With any source or package changed since the imports, the run is what Prefect would start."""
    assert run(context, engine_on_changed_code, tmp_path) == STARTED


def test_a_forked_run_cleans_up_after_itself(context, tmp_path):
    """Temporary folders go with the process, which began with one thread and no GPU in use."""
    assert run(context, look_at_process, tmp_path) == 0
    assert not Path((tmp_path / "said").read_text("utf-8")).exists()


def test_a_model_is_asked_without_this_projects_modules(context, tmp_path):
    """In a forked run a script finds the libraries imported, and nothing of ours."""
    (tmp_path / "script.py").write_text(SEEN, "utf-8")
    assert run(context, script_in_forked_run, tmp_path) == 0
    code, said = json.loads((tmp_path / "result").read_text("utf-8"))
    seen = json.loads(said)
    assert code == 5
    assert (seen["words"], seen["folder"]) == (["a"], str(tmp_path.resolve()))
    assert seen["environment"].get("ONE") == "1"
    assert "PATH" not in seen["environment"]
    assert seen["known"] == []
    assert seen["torch"] is True
