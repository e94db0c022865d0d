"""The train stage: whose its checkpoints are and when they go, and what its log tells."""

import logging
from types import SimpleNamespace

import pytest
from filelock import FileLock, Timeout

from finetuning.adapters import attach_adapters
from finetuning.config import Pipeline
from finetuning.models import build, layer_groups
from finetuning.strategies import tabulate
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


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (
            "lora",
            [
                "lora: epoch 1: embeddings frozen, block 1 to head x 1 (peak rate 0.0003)",
                "lora: adapters of rank 8 (alpha 16) beside 4 layers: query, value",
                "lora: 2,114 of 23,",
            ],
        ),
        ("full", ["full: epoch 1: embeddings to head x 1 (peak rate 0.0003)", "full: 21,"]),
        ("head", ["head: the head alone is fitted to convergence", "head: 66 of 21,"]),
    ],
)
def test_the_log_tells_rates_and_how_much_is_trained(kind, said, bert_folder, monkeypatch, caplog):
    """A line for epochs that are alike, one for adapters, one for parameters, for every kind.

    Two labels on 32 features are 66 parameters; four layers of 32 have adapters of 8 x 64 each.
    """
    monkeypatch.setattr(training, "get_run_logger", lambda: logging.getLogger("test"))
    caplog.set_level(logging.INFO)
    file = {"data": {"path": "data/toy"}, "training": {"epochs": 1, "learning_rate": 3e-4}}
    pipeline = Pipeline.model_validate(
        {
            "name": "toy", "problem": "text-classification", "model": {"base": "toy"},
            "strategy": {"kind": kind}, **file,
        }
    )  # fmt: skip
    model = build(bert_folder, 2, 0)
    if kind == "lora":
        attach_adapters(model, pipeline.strategy, 0)
    groups = layer_groups(model)
    table = tabulate(pipeline.strategy, 1, len(groups))
    training.log_table(pipeline, model, groups, table)
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == len(said)
    assert all(line.startswith(f"strategy: {one}") for line, one in zip(lines, said, strict=True))
