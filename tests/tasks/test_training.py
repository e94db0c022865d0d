"""The train stage's checkpoints: whose they are, and when they go."""

import logging
from types import SimpleNamespace

import pytest
from filelock import FileLock, Timeout

from tasks import training
from tasks.stages import Outcome

KEY = "a" * 64


@pytest.fixture
def work(tmp_path, monkeypatch):
    """The work of a run whose training has left a checkpoint."""
    monkeypatch.setattr(training, "get_run_logger", lambda: logging.getLogger("test"))
    (tmp_path / "checkpoints" / KEY / "000000010").mkdir(parents=True)
    settings = SimpleNamespace(training=SimpleNamespace(checkpoint_steps=None))
    plans = {"train": SimpleNamespace(key=KEY)}
    return SimpleNamespace(state=tmp_path, plans=plans, pipeline=settings)


def test_nobody_else_trains_the_same_and_checkpoints_go_in_the_end(work, monkeypatch):
    """The lock is the training's, not the pipeline's; with the output kept nothing else is left."""

    def perform(_work, stage, _make):
        with pytest.raises(Timeout):
            FileLock(work.state / "locks" / f"{KEY}.train").acquire(blocking=False)
        assert (work.state / "checkpoints" / KEY).is_dir()
        return Outcome(stage, KEY, "ran", 1.0, "first run"), None

    monkeypatch.setattr(training, "perform", perform)
    assert training.train.fn(work).status == "ran"
    assert not (work.state / "checkpoints" / KEY).exists()
    with FileLock(work.state / "locks" / f"{KEY}.train").acquire(blocking=False):
        pass


@pytest.mark.parametrize(("error", "kept"), [(OSError, True), (FloatingPointError, False)])
def test_a_failure_keeps_checkpoints_and_divergence_does_not(work, monkeypatch, error, kept):
    """What failed goes on from there; what diverged would diverge again."""

    def perform(*_):
        raise error

    monkeypatch.setattr(training, "perform", perform)
    with pytest.raises(error):
        training.train.fn(work)
    assert (work.state / "checkpoints" / KEY).exists() == kept
