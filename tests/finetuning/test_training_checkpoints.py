"""Checkpoints of a training: when one is written, which one is used, and what is passed over."""

import json
import shutil
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from finetuning import resumption
from finetuning.devices import Device
from finetuning.resumption import LARGEST_SHARE, LEAST_PAUSE, Writer, recall
from finetuning.training_state import Progress, UnfitError, restore
from tests.finetuning import killed_training
from tests.finetuning.killed_training import KilledError, arm, carry_out, list_steps, make_saving


@pytest.fixture
def make_job(request):
    """Gives what `adapt` is given first, for a problem and a strategy."""
    return partial(killed_training.make_job, request.getfixturevalue)


@pytest.fixture
def kill(monkeypatch):
    """Ends the process, as it were, as a step begins."""
    return partial(arm, monkeypatch)


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
    with pytest.raises(KilledError):
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
    with pytest.raises(KilledError):
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
    with pytest.raises(KilledError):
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
    with pytest.raises(KilledError):
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
