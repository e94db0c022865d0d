"""A training step without memory is split, goes on, or says what would help."""

from functools import partial

import pytest
import torch

from finetuning import class_scoring
from finetuning.adaptation import adapt
from finetuning.errors import ShortOfMemoryError
from tests.finetuning import killed_training
from tests.finetuning.killed_training import KilledError, arm, make_saving
from tests.finetuning.test_image_models import make_base

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
]


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
    with pytest.raises(KilledError):
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
