"""A training that was killed ends as one that was not, byte for byte."""

import signal
from functools import partial

import pytest

from finetuning import class_scoring, training
from tests.finetuning import killed_training, test_training
from tests.finetuning.killed_training import (
    DEADLY,
    ROWS,
    KilledError,
    arm,
    carry_out,
    list_steps,
    make_saving,
    make_text_pipeline,
)
from tests.finetuning.test_image_models import make_base

STRATEGIES = (
    "full", "head", "freeze", "gradual", "discriminative", "lora", "probe-then-tune", "scratch",
)  # fmt: skip
FITTED = ("texts", "images")  # problems whose `head` is fitted: no step is trained


@pytest.fixture(scope="module")
def cifar_folder(tmp_path_factory):
    """A network with BatchNorm."""
    return make_base("cifar", tmp_path_factory.mktemp("cifar"))


@pytest.fixture
def make_job(request):
    """Gives what `adapt` is given first, for a problem and a strategy."""
    return partial(killed_training.make_job, request.getfixturevalue)


@pytest.fixture
def kill(monkeypatch):
    """Ends the process, as it were, as a step begins."""
    return partial(arm, monkeypatch)


@pytest.mark.parametrize("kind", STRATEGIES)
@pytest.mark.parametrize("problem", ["texts", "images", "questions", "language"])
def test_a_killed_training_ends_as_an_undisturbed_one(problem, kind, make_job, kill, tmp_path):
    """Weights, adapters and history are equal, killed in the middle of an epoch."""
    job = make_job(problem, kind)
    expected = carry_out(job, tmp_path / "undisturbed")
    saving, said = make_saving(tmp_path)
    if kind == "head" and problem in FITTED:
        assert carry_out(job, tmp_path / "saved", saving) == expected
        assert not saving.folder.exists()
        return
    kill()
    with pytest.raises(KilledError):
        carry_out(job, tmp_path / "killed", saving)
    assert list_steps(saving) == [3, 6]
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    total = expected[3]
    (line,) = [line for line in said if "goes on" in line]
    assert line.startswith(f"training goes on from step 6 of {total} (epoch ")


def test_the_best_epoch_and_patience_are_carried(make_job, kill, bert_folder, tmp_path):
    """On noise: the best epoch lies before the kill, and the training stops early behind it."""
    rows, checked = (test_training.make_rows(bert_folder, ROWS, seed, noise=1.0) for seed in (3, 4))
    pipeline = make_text_pipeline("full", epochs=12, early_stopping=3, learning_rate=1e-2)
    job = (bert_folder, 2, pipeline, rows, checked, 32)
    expected = carry_out(job, tmp_path / "undisturbed")
    _, history, best, steps, _ = expected
    assert len(history) == best + 4 < 12  # or else the test would show nothing
    saving, _ = make_saving(tmp_path, steps=1)
    kill(4 * (best + 2) + 1)
    with pytest.raises(KilledError):
        carry_out(job, tmp_path / "killed", saving)
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    assert steps == 4 * len(history)


def test_killed_again_and_again(make_job, kill, tmp_path):
    """Before the first checkpoint, in the first step of an epoch, and in the last of all."""
    job = make_job("texts", "probe-then-tune")
    expected = carry_out(job, tmp_path / "undisturbed")
    saving, said = make_saving(tmp_path, steps=1)
    for attempt, deadly in enumerate((0, 4, 5, 11)):
        kill(deadly)
        with pytest.raises(KilledError):
            carry_out(job, tmp_path / f"killed {attempt}", saving)
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    begun = [line for line in said if "goes on" in line]
    assert begun == [
        f"training goes on from step {step} of 12 (epoch {epoch})"
        for step, epoch in ((4, 1), (5, 2), (11, 3))
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_waits_for_the_step_and_its_checkpoint(number, make_job, monkeypatch, tmp_path):
    """At once the process would end; so it ends behind the step, and goes on from there."""
    job = make_job("texts", "full")
    expected = carry_out(job, tmp_path / "undisturbed")
    saving, said = make_saving(tmp_path, steps=None)  # by time: none would be due
    real = training._step

    def step(loop, chosen, step, micro_batch):
        if step == DEADLY and not saving.folder.exists():
            signal.raise_signal(number)
        return real(loop, chosen, step, micro_batch)

    def end(*_):
        raise KilledError

    monkeypatch.setattr(training, "_step", step)
    former = signal.signal(number, end)
    try:
        with pytest.raises(KilledError):
            carry_out(job, tmp_path / "killed", saving)
        assert signal.getsignal(number) is end
    finally:
        signal.signal(number, former)
    assert list_steps(saving) == [DEADLY + 1]
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    assert said == [
        "ended behind step 8: the same command goes on from there",
        "training goes on from step 8 of 12 (epoch 2)",
    ]


def test_validation_that_is_broken_off_costs_no_step(make_job, monkeypatch, tmp_path):
    """The epoch's steps are kept; validation alone is done again."""
    job = make_job("texts", "full")
    expected = carry_out(job, tmp_path / "undisturbed")
    saving, said = make_saving(tmp_path, steps=None)
    real = class_scoring.check

    def check(*given):
        monkeypatch.setattr(class_scoring, "check", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(class_scoring, "check", check)
    with pytest.raises(KeyboardInterrupt):
        carry_out(job, tmp_path / "killed", saving)
    assert list_steps(saving) == [4]
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    assert said[1:] == ["training goes on from step 4 of 12 (epoch 1)"]
