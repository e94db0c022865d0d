"""The flow without the bodies of its stages, in a project of its own with a copy of the code.

The flow is the real one, in a git repository with data under DVC; so are the plans, the store and
the snapshot. The bodies of the other stages leave a small file.
"""

import contextlib
import functools
import shutil

import pytest
from prefect.logging import disable_run_logger

from finetuning.digests import PROJECT, digest_code, digest_definitions
from flows import finetune
from tasks import explanations, planning
from tasks.planning import STAGES
from tasks.snapshot import snapshot
from tasks.stages import perform
from tests.support import begin_project
from tests.tasks.project_changes import PIPELINE, edit


def leave(folder):
    """What a stage makes here."""
    (folder / "made.txt").write_text("made\n")
    return {}


def stand_in(name):
    """A stage without its body."""
    return lambda work: perform(work, name, leave)[0]


def run(root):
    """Run the flow: each stage that ran, with why."""
    outcomes = finetune.finetune.fn(pipeline="toy", root=root)
    assert [outcome.stage for outcome in outcomes] == list(STAGES)
    return {outcome.stage: outcome.why for outcome in outcomes if outcome.status == "ran"}


@contextlib.contextmanager
def leave_bodies_out():
    """The flow with stages whose bodies leave a file, outside of Prefect."""
    with pytest.MonkeyPatch.context() as patch, disable_run_logger():
        patch.setattr(finetune, "snapshot", snapshot.fn)
        patch.setattr(finetune, "check_data", stand_in("validate"))
        for name in ("encode", "train", "evaluate", "register"):
            patch.setattr(finetune, name, stand_in(name))
        patch.setattr(finetune, "tell_change", lambda *_, **__: None)
        patch.setattr(finetune, "conclude", lambda _, outcomes, __: outcomes)
        yield


@contextlib.contextmanager
def copy_code(place):
    """A copy of this project's code, whose digests are those that count."""
    for package in ("finetuning", "tasks", "flows"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(PROJECT / package, place / package, ignore=ignored)
    with pytest.MonkeyPatch.context() as patch:
        read = functools.partial(digest_code, project=place)
        patch.setattr(planning, "_read_code", read)
        name = functools.partial(digest_definitions, project=place)
        patch.setattr(explanations, "_find_definitions", name)
        yield place


def begin(place):
    """A project whose every stage has run once."""
    base = place / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    root = begin_project(place / "root", base, "toy", "other")
    assert run(root) == dict.fromkeys(STAGES, "first run")
    return place


def copy_project(begun, copy):
    """A copy of such a project; the pipeline's base model is the copy's."""
    shutil.copytree(begun, copy, symlinks=True)
    root = copy / "root"
    edit(root / PIPELINE, str(begun / "base"), "../base")
    assert run(root) == {}
    return root
