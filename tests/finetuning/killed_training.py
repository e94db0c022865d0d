"""Trainings of every problem that can be killed, and the checkpoints that they leave."""

from dataclasses import replace

from finetuning import training
from finetuning.adaptation import adapt, save_adapted
from finetuning.config import Pipeline
from finetuning.resumption import Saving
from tests.finetuning import (
    test_image_strategies,
    test_language_adaptation,
    test_question_answering,
    test_training,
)

EVERY, DEADLY = 3, 7  # steps between two checkpoints; the step in which the process dies
ROWS = 32


class KilledError(BaseException):
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


def make_job(find, problem, kind):
    """What `adapt` is given first, for a problem and a strategy; `find` gives a base's folder."""
    if problem == "texts":
        folder = find("bert_folder")
        rows, checked = (test_training.make_rows(folder, ROWS, seed) for seed in (0, 1))
        return folder, 2, make_text_pipeline(kind), rows, checked, 32
    if problem == "images":
        folder = find("cifar_folder")
        pipeline = test_image_strategies.make_pipeline(kind)
        change = {"augmentation": {"shift": 0.1, "flip": True, "mixup": 0.2}, "epochs": 3}
        training = type(pipeline.training).model_validate(pipeline.training.model_dump() | change)
        pipeline = pipeline.model_copy(update={"training": training})
        rows, checked = (test_image_strategies.make_rows(ROWS, seed) for seed in (0, 1))
        return folder, 2, pipeline, rows, checked, None
    if problem == "questions":
        folder = find("bert_folder")
        groups = {"groups": 2} if kind == "freeze" else {}
        pipeline = test_question_answering.make_pipeline({"kind": kind, **groups}, epochs=3)
        rows, checked = (
            test_question_answering.encode(folder, 12, seed, silent=2)[1] for seed in (0, 1)
        )
        return folder, 0, pipeline, rows, checked, 48
    folder = find("gpt2_folder")
    pipeline = test_language_adaptation.make_pipeline(kind)
    rows, (checked, _) = test_language_adaptation.encode(folder, pipeline)
    return folder, 0, pipeline, rows, checked, 16


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


def arm(monkeypatch, deadly=DEADLY):
    """End the process, as it were, as that step begins."""
    real = training._step

    def step(loop, chosen, number, micro_batch):
        if number == deadly:
            monkeypatch.setattr(training, "_step", real)
            raise KilledError
        return real(loop, chosen, number, micro_batch)

    monkeypatch.setattr(training, "_step", step)


def list_steps(saving):
    """The steps of which there are checkpoints."""
    return [int(folder.name) for folder in sorted(saving.folder.glob("[0-9]*"))]
