"""A run whose process dies in the middle of the training goes on from there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.abandoned_runs import crash_gone
from tasks.noted_processes import list_gone
from tasks.runs import ORPHANED
from tests.support import begin_project, make_environment, run

STEPS = 20
WORDS = (
    "--set", "strategy.kind=full", "--set", "training.epochs=20",
    "--set", f"training.checkpoint_steps={STEPS}",
)  # fmt: skip
EPOCH_STEPS = 27
TOTAL = 20 * EPOCH_STEPS


@pytest.fixture(scope="module")
def project(tmp_path_factory, bert_folder):
    """A project with two pipelines that differ in name alone."""
    return begin_project(tmp_path_factory.mktemp("killed") / "root", bert_folder, "toy", "other")


def end_in_training(project, number):
    """Begin a run, send it a signal once there is a new checkpoint: its code and output."""
    log = project.parent / "said"
    with log.open("wb") as output:  # a pipe that nobody reads yet would fill up
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "run", "toy", *WORDS],
            cwd=project,
            env=make_environment(),
            stdout=output,
            stderr=output,
        )
    before, until = list_steps(project), time.monotonic() + 180
    while not set(list_steps(project)) - set(before):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    process.wait(timeout=120)
    return process.returncode, log.read_text("utf-8")


def list_steps(project):
    """The steps of which there are checkpoints."""
    folders = (project / ".tunesmith" / "checkpoints").glob("*/[0-9]*")
    return sorted(int(folder.name) for folder in folders)


def take_training(project):
    """Model files and facts of the one kept training, which is kept no longer."""
    kept = project / ".tunesmith" / "store" / "train"
    (entry,) = kept.glob("[0-9a-f]*")
    files = {path.name: path.read_bytes() for path in (entry / "model").glob("*.safetensors")}
    facts = json.loads((entry / "manifest.json").read_text("utf-8"))["facts"]
    shutil.rmtree(kept)
    return files, facts


def forget_time(facts):
    """The facts without what no two runs have in common."""
    history = [{**epoch, "seconds": 0} for epoch in facts["history"]]
    return {**facts, "samples_per_second": 0, "history": history}


def check_crash(project):
    """The flow run of the process that was killed is under way until `watch` looks."""
    (note,) = list_gone(project)
    with temporary_settings({PREFECT_API_URL: os.environ["PREFECT_API_URL"]}):
        assert crash_gone(project) == [note.name]
        with get_client(sync_client=True) as client:
            state = client.read_flow_run(UUID(note.name)).state
    assert (state.type.value, state.message) == ("CRASHED", ORPHANED)
    assert list_gone(project) == []


@pytest.mark.usefixtures("one_server")
def test_a_run_that_is_killed_twice_ends_as_another_one(project):
    """SIGTERM costs no step and ends with a message, SIGKILL costs what came since the checkpoint.

    Weights and facts are equal to those of a run that nobody disturbed, and no checkpoint is left.
    """
    code, said = end_in_training(project, signal.SIGTERM)
    assert code == 1, said
    assert "Traceback" not in said
    assert "interrupted: the same command goes on from what is kept" in said
    stopped = list_steps(project)[-1]
    code, said = end_in_training(project, signal.SIGKILL)
    assert code == -signal.SIGKILL
    assert f"training goes on from step {stopped} of {TOTAL}" in said
    killed = list_steps(project)[-1]
    assert killed > stopped
    check_crash(project)
    said = run(project, "run", "toy", *WORDS).stderr
    epoch = killed // EPOCH_STEPS + 1
    assert f"training goes on from step {killed} of {TOTAL} (epoch {epoch})" in said
    assert list_steps(project) == []
    files, facts = take_training(project)
    run(project, "run", "other", *WORDS)
    expected, undisturbed = take_training(project)
    assert files == expected
    assert len(files) > 1
    assert forget_time(facts) == forget_time(undisturbed)
    assert facts["steps"] == TOTAL
