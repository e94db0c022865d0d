"""A training that was killed ends as one that was not, byte for byte; and what a checkpoint is."""

import json
import shutil
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from finetuning import class_scoring, resumption, training
from finetuning.adaptation import adapt, save_adapted
from finetuning.config import Pipeline
from finetuning.devices import Device
from finetuning.errors import ShortOfMemoryError
from finetuning.resumption import LARGEST_SHARE, LEAST_PAUSE, Saving, Writer, recall
from finetuning.training_state import Progress, UnfitError, restore
from tests.finetuning import (
    test_image_strategies,
    test_language_adaptation,
    test_question_answering,
    test_training,
)
from tests.finetuning.test_image_models import make_base

STRATEGIES = (
    "full", "head", "freeze", "gradual", "discriminative", "lora", "probe-then-tune", "scratch",
)  # fmt: skip
FITTED = ("texts", "images")  # problems whose `head` is fitted: no step is trained
EVERY, DEADLY = 3, 7  # steps between two checkpoints; the step in which the process dies
ROWS = 32


class _KilledError(BaseException):
    """Stands for the end of the process."""


def make_text_pipeline(kind, **settings):
    """A pipeline for texts with that strategy."""
    groups = {"groups": 2} if kind == "freeze" else {}
    usual = {"epochs": 3, "batch_size": 8, "learning_rate": 3e-3, "early_stopping": None}
    return Pipeline.model_validate(
        {
            "name": "toy",
            "problem": "text-classification",
            "data": {"path": "data/toy"},
            "model": {"base": "toy"},
            "strategy": {"kind": kind, **groups},
            "training": {"precision": "fp32", "max_length": 32, **usual, **settings},
        }
    )


@pytest.fixture(scope="module")
def cifar_folder(tmp_path_factory):
    """A network with BatchNorm."""
    return make_base("cifar", tmp_path_factory.mktemp("cifar"))


@pytest.fixture
def make_job(request):
    """Gives what `adapt` is given first, for a problem and a strategy."""

    def make(problem, kind):
        if problem == "texts":
            folder = request.getfixturevalue("bert_folder")
            rows, checked = (test_training.make_rows(folder, ROWS, seed) for seed in (0, 1))
            return folder, 2, make_text_pipeline(kind), rows, checked, 32
        if problem == "images":
            folder = request.getfixturevalue("cifar_folder")
            pipeline = test_image_strategies.make_pipeline(kind)
            change = {"augmentation": {"shift": 0.1, "flip": True, "mixup": 0.2}, "epochs": 3}
            training = type(pipeline.training).model_validate(
                pipeline.training.model_dump() | change
            )
            pipeline = pipeline.model_copy(update={"training": training})
            rows, checked = (test_image_strategies.make_rows(ROWS, seed) for seed in (0, 1))
            return folder, 2, pipeline, rows, checked, None
        if problem == "questions":
            folder = request.getfixturevalue("bert_folder")
            groups = {"groups": 2} if kind == "freeze" else {}
            pipeline = test_question_answering.make_pipeline({"kind": kind, **groups}, epochs=3)
            rows, checked = (
                test_question_answering.encode(folder, 12, seed, silent=2)[1] for seed in (0, 1)
            )
            return folder, 0, pipeline, rows, checked, 48
        folder = request.getfixturevalue("gpt2_folder")
        pipeline = test_language_adaptation.make_pipeline(kind)
        rows, (checked, _) = test_language_adaptation.encode(folder, pipeline)
        return folder, 0, pipeline, rows, checked, 16

    return make


def make_saving(folder, steps=EVERY, plan="plan"):
    """Where checkpoints go, and what was said of them."""
    said = []
    return Saving(folder / "checkpoints", plan, steps, said.append), said


def carry_out(job, folder, saving=None):
    """Train and save: the files that were written, and what the training told of itself."""
    folder.mkdir(parents=True)
    adapted = adapt(*job, folder, saving=saving)
    labels = ("0", "1") if job[1] else ()
    save_adapted(adapted, folder / "model", labels, job[2], "toy")
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.safetensors"))
    }
    result = adapted.result
    history = [replace(epoch, seconds=0.0) for epoch in result.history]
    return files, history, result.best, result.steps, adapted.deterministic


@pytest.fixture
def kill(monkeypatch):
    """Ends the process, as it were, as a step begins."""

    def arm(deadly=DEADLY):
        real = training._step

        def step(loop, chosen, number, micro_batch):
            if number == deadly:
                monkeypatch.setattr(training, "_step", real)
                raise _KilledError
            return real(loop, chosen, number, micro_batch)

        monkeypatch.setattr(training, "_step", step)

    return arm


def list_steps(saving):
    """The steps of which there are checkpoints."""
    return [int(folder.name) for folder in sorted(saving.folder.glob("[0-9]*"))]


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
    with pytest.raises(_KilledError):
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
    with pytest.raises(_KilledError):
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
        with pytest.raises(_KilledError):
            carry_out(job, tmp_path / f"killed {attempt}", saving)
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    begun = [line for line in said if "goes on" in line]
    assert begun == [
        f"training goes on from step {step} of 12 (epoch {epoch})"
        for step, epoch in ((4, 1), (5, 2), (11, 3))
    ]


def _truncate(folder):
    file = folder / "tensors.safetensors"
    file.write_bytes(file.read_bytes()[:-1])


def _flip(name):
    def act(folder):
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return act


def _replan(folder):
    file = folder / "manifest.json"
    said = json.loads(file.read_text("utf-8"))
    said["maker"]["plan"] = "another"
    del said["digest"]
    said["digest"] = resumption.digest_value(said)
    file.write_text(json.dumps(said), "utf-8")


def _halve(folder):
    temporary = folder.parent / ".000000006.abcdef01.tmp" / "content"
    temporary.mkdir(parents=True)
    (folder / "tensors.safetensors").rename(temporary / "tensors.safetensors")
    shutil.rmtree(folder)


@pytest.mark.parametrize(
    ("damage", "left"),
    [
        (_truncate, [3, 6]),
        (_flip("tensors.safetensors"), [3, 6]),
        (_flip("manifest.json"), [3, 6]),
        (lambda folder: (folder / "manifest.json").unlink(), [3, 6]),
        (lambda folder: (folder / "manifest.json").write_text("[]"), [3, 6]),
        (_replan, [3, 6]),
        (_halve, [3]),
    ],
    ids=["truncated", "bit", "said", "no manifest", "no object", "plan", "temporary"],
)
def test_a_damaged_checkpoint_is_passed_over(damage, left, make_job, kill, tmp_path):
    """The one before it is used, the end is the same, and no more than two are kept."""
    job = make_job("texts", "full")
    expected = carry_out(job, tmp_path / "undisturbed")
    saving, said = make_saving(tmp_path)
    kill()
    with pytest.raises(_KilledError):
        carry_out(job, tmp_path / "killed", saving)
    damage(saving.folder / "000000006")
    assert list_steps(saving) == left
    assert carry_out(job, tmp_path / "resumed", saving) == expected
    assert "training goes on from step 3 of 12 (epoch 1)" in said
    assert any("step 6 is damaged or of another plan" in line for line in said) == (6 in left)
    assert list_steps(saving) == [9, 12]


def test_nothing_is_used_where_all_is_damaged(make_job, kill, tmp_path):
    """The training begins again."""
    job = make_job("texts", "full")
    saving, said = make_saving(tmp_path)
    kill()
    with pytest.raises(_KilledError):
        carry_out(job, tmp_path / "killed", saving)
    for step in (3, 6):
        _truncate(saving.folder / f"{step:09d}")
    assert carry_out(job, tmp_path / "again", saving) == carry_out(job, tmp_path / "undisturbed")
    assert not [line for line in said if "goes on" in line]


def test_another_device_begins_again_and_another_machine_goes_on(make_job, kill, tmp_path):
    """What was computed in another precision is not mixed in; another processor is told of."""
    job = make_job("texts", "full")
    saving, _ = make_saving(tmp_path)
    kill()
    with pytest.raises(_KilledError):
        carry_out(job, tmp_path / "killed", saving)
    made = json.loads((saving.folder / "000000006" / "manifest.json").read_text("utf-8"))
    same = Device("cpu", made["machine"][0], "fp32")
    assert recall(saving, same).progress.alike
    assert not recall(saving, replace(same, name="another")).progress.alike
    assert recall(saving, replace(same, precision="bf16")) is None
    assert recall(replace(saving, plan="another"), same) is None


def test_tensors_of_another_model_are_refused(make_job, kill, tmp_path):
    """Nothing of the model is changed, and a training that meets them begins again."""
    job = make_job("texts", "full")
    saving, said = make_saving(tmp_path)
    kill()
    with pytest.raises(_KilledError):
        carry_out(job, tmp_path / "killed", saving)
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()
    optimizer = torch.optim.AdamW(model.parameters())
    tensors = {"model.weight": torch.ones(2, 3), "model.bias": torch.ones(2)}
    with pytest.raises(UnfitError):
        restore(model, optimizer, ["weight", "bias"], Progress(), tensors)
    assert torch.equal(model.weight, before)
    fewer = (*job[:3], job[3].take(np.arange(8)), job[4], job[5])  # and fewer words
    assert carry_out(fewer, tmp_path / "a", saving) == carry_out(fewer, tmp_path / "b")
    assert "the checkpoint is not of this model: the training begins again" in said


def test_by_time(monkeypatch, tmp_path):
    """After the least pause, or later where writing takes long; not before."""
    clock = [1000.0]
    monkeypatch.setattr(resumption.time, "monotonic", lambda: clock[0])
    saving, _ = make_saving(tmp_path, steps=None)

    def collect(_):
        clock[0] += 3.0
        return {"model.weight": torch.ones(1)}

    writer = Writer(saving, Device("cpu", "CPU", "fp32"), collect, written=clock[0])
    assert not writer.is_due(10)
    clock[0] += LEAST_PAUSE
    assert writer.is_due(10)
    writer.write(Progress(steps=10))
    clock[0] += LEAST_PAUSE
    assert not writer.is_due(20)
    clock[0] += 3.0 / LARGEST_SHARE - LEAST_PAUSE
    assert writer.is_due(20)
    assert list_steps(saving) == [10]


def test_a_disk_that_takes_nothing_does_not_end_the_training(make_job, monkeypatch, tmp_path):
    """It is said each time, and the model is the same."""
    job = make_job("texts", "full")
    expected = carry_out(job, tmp_path / "undisturbed")
    saving, said = make_saving(tmp_path)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(resumption, "_bring_to_disk", refuse)
    assert carry_out(job, tmp_path / "saved", saving) == expected
    assert len(said) == 4
    assert all(line.startswith("no checkpoint could be written") for line in said)
    assert list_steps(saving) == []


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
        raise _KilledError

    monkeypatch.setattr(training, "_step", step)
    former = signal.signal(number, end)
    try:
        with pytest.raises(_KilledError):
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


ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


def _limit(monkeypatch, most, error, after=0):
    """Lets a pass over more rows than that fail, from some pass on."""
    real, passes = class_scoring.compute_loss, []

    def compute_loss(outputs, targets, smoothing):
        passes.append(len(outputs))
        if len(passes) > after and len(outputs) > most:
            raise error
        return real(outputs, targets, smoothing)

    monkeypatch.setattr(class_scoring, "compute_loss", compute_loss)
    return passes


@pytest.mark.parametrize("error", ERRORS, ids=["CUDA", "Python", "CPU"])
def test_a_step_without_memory_is_split(error, make_job, monkeypatch, tmp_path):
    """Rows at once are halved until they fit; batches, steps and the gradient stay the same."""
    folder, classes, pipeline, *rest = make_job("texts", "full")
    still = pipeline.model.model_copy(update={"dropout": 0.0})
    job = (folder, classes, pipeline.model_copy(update={"model": still}), *rest)
    whole = adapt(*job, tmp_path)
    passes = _limit(monkeypatch, 3, error)
    saving, said = make_saving(tmp_path)
    split = adapt(*job, tmp_path, saving=saving)
    assert passes == [8, 4, *[2] * 4 * 12]
    assert (split.result.micro_batch, whole.result.micro_batch) == (2, None)
    assert split.result.steps == whole.result.steps == 12
    assert whole.deterministic
    assert not split.deterministic  # when memory is short is not the seed's to say
    for one, other in zip(whole.result.history, split.result.history, strict=True):
        assert other.train_loss == pytest.approx(one.train_loss, abs=1e-3)
    assert said[0].startswith("8 rows at once are too many for the memory: the training begins")
    assert said[-1] == "at most 2 rows at once, added up to batches of the same size"


def test_a_later_want_of_memory_goes_on_from_the_checkpoint(make_job, kill, monkeypatch, tmp_path):
    """Only the steps since the checkpoint are done twice; a kill later on keeps the split."""
    job = make_job("texts", "full")
    saving, said = make_saving(tmp_path)
    passes = _limit(monkeypatch, 4, ERRORS[0], after=7)
    kill(10)
    with pytest.raises(_KilledError):
        adapt(*job, tmp_path, saving=saving)
    assert passes == [*[8] * 8, *[4] * 2 * 4]  # of steps 0 to 7, and of 6 to 9
    result = adapt(*job, tmp_path, saving=saving).result
    assert (result.steps, result.micro_batch) == (12, 4)
    assert passes[16:] == [4] * 2 * 3
    begun = [line.partition(" of ")[0] for line in said if "training goes on from" in line]
    assert begun == ["training goes on from step 6", "training goes on from step 9"]


def test_one_row_without_memory_is_an_error_with_a_remedy(make_job, monkeypatch, tmp_path):
    """There is nothing left to halve."""
    _limit(monkeypatch, 0, ERRORS[1])
    with pytest.raises(ShortOfMemoryError, match=r"max_length.*image_size.*groups.*lora or head"):
        adapt(*make_job("texts", "full"), tmp_path)


def test_batch_norm_that_sees_parts_is_told_of(make_job, monkeypatch, tmp_path):
    """A split batch of images is normalised part by part: the log says so."""
    saving, said = make_saving(tmp_path)
    _limit(monkeypatch, 4, ERRORS[0])
    adapt(*make_job("images", "full"), tmp_path, saving=saving)
    assert said[-1] == "BatchNorm sees so many rows too, not the batch: the result is another one"


def test_other_errors_are_not_taken_for_a_want_of_memory(make_job, monkeypatch, tmp_path):
    """A mistake is raised as it is, once."""
    passes = _limit(monkeypatch, 3, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="shapes"):
        adapt(*make_job("texts", "full"), tmp_path)
    assert passes == [8]
