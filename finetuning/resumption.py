"""Checkpoints within a training: one that was killed goes on from the newest that is whole.

A checkpoint is a folder named by its step: tensors (safetensors) and a manifest that holds how far
the training had come, the tensors' SHA-256, and the digest of what it says itself. It is filled
under a temporary name, brought to the disk and moved into place. No random state is carried: what
a step draws depends on the seed and the step's number, and an epoch's order on seed and epoch.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from finetuning.devices import Device
from finetuning.digests import digest_file, digest_value
from finetuning.history import Epoch
from finetuning.locks import fill
from finetuning.training_state import Progress

TENSORS, MANIFEST = "tensors.safetensors", "manifest.json"
KEPT = 2  # checkpoints: where the newest is damaged, the one before it is used
LEAST_PAUSE = 60.0  # seconds from one checkpoint to the next, unless training.checkpoint_steps says
LARGEST_SHARE = 0.02  # of the time, for writing them: large models and slow disks pause longer


@dataclass(frozen=True)
class Saving:
    """Where a training's checkpoints lie. Whoever trains holds a lock on it.

    folder: Of this training alone. plan: Digest of all that shapes the training. steps: Steps from
    one checkpoint to the next, None: by time. tell: Given what the log should say.
    """

    folder: Path
    plan: str
    steps: int | None = None
    tell: Callable[[str], None] = lambda _: None

    def discard(self) -> None:
        """Remove all checkpoints."""
        shutil.rmtree(self.folder, ignore_errors=True)


@dataclass(frozen=True)
class Checkpoint:
    """A whole one: what it says, and where its tensors lie."""

    progress: Progress
    folder: Path

    def load(self) -> dict[str, Tensor]:
        """Its tensors, on the CPU."""
        from safetensors.torch import load_file

        tensors: dict[str, Tensor] = load_file(self.folder / TENSORS)
        return tensors


def recall(saving: Saving, device: Device) -> Checkpoint | None:
    """The newest checkpoint that is whole, of this plan, and from a device of this kind.

    Steps on another machine, or with another number of threads, are no obstacle, but bytes may then
    differ from an undisturbed run's: `Progress.alike` says so.
    """
    for folder in reversed(_list(saving.folder)):
        try:
            said = json.loads((folder / MANIFEST).read_text("utf-8"))
            marked, file = said.pop("digest"), folder / TENSORS
            whole = marked == digest_value(said) and said["tensors"] == digest_file(file)
            known = whole and said["maker"] == _describe_maker(saving, device)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            known = False
        if not known:
            saving.tell(f"the checkpoint of step {int(folder.name)} is damaged or of another plan")
            continue
        values = said["progress"]
        history = [Epoch(**epoch) for epoch in values.pop("history")]
        progress = Progress(history, **values)
        progress.alike = progress.alike and said["machine"] == _describe_machine(device)
        return Checkpoint(progress, folder)
    return None


def _list(folder: Path) -> list[Path]:
    """The folders of checkpoints, from old to new."""
    return sorted(folder.glob("[0-9]*")) if folder.is_dir() else []


def _describe_maker(saving: Saving, device: Device) -> dict[str, str]:
    return {"plan": saving.plan, "device": device.kind, "precision": device.precision}


def _describe_machine(device: Device) -> list[Any]:
    return [device.name, torch.get_num_threads()]


@dataclass
class Writer:
    """Writes a training's checkpoints when they are due.

    collect: Gives the tensors that go with a progress.
    """

    saving: Saving
    device: Device
    collect: Callable[[Progress], dict[str, Tensor]]
    written: float = field(default_factory=time.monotonic)  # when the last one was
    cost: float = 0.0  # seconds that it took
    step: int = 0  # whose it is

    def is_due(self, step: int) -> bool:
        """Whether the next one should be written behind this step."""
        if self.saving.steps is not None:
            return step % self.saving.steps == 0
        pause = max(LEAST_PAUSE, self.cost / LARGEST_SHARE)
        return time.monotonic() - self.written >= pause

    def write(self, progress: Progress) -> None:
        """Write one, unless it is there; a disk that takes none does not end the training."""
        from safetensors import SafetensorError

        if progress.steps == self.step:
            return
        began = time.monotonic()
        try:
            self._write(progress)
            self.step = progress.steps
        except (OSError, SafetensorError) as error:
            self.saving.tell(f"no checkpoint could be written, the training goes on: {error}")
        self.written = time.monotonic()
        self.cost = self.written - began

    def end(self, progress: Progress) -> None:
        """Write one behind the last step of a process that was asked to end."""
        self.write(progress)
        if self.step == progress.steps:
            self.saving.tell(f"ended behind step {self.step}: the same command goes on from there")

    def _write(self, progress: Progress) -> None:
        from safetensors.torch import save_file

        name = f"{progress.steps:09d}"
        with fill(self.saving.folder, name) as temporary:
            save_file(self.collect(progress), temporary / TENSORS)
            said = {
                "maker": _describe_maker(self.saving, self.device),
                "machine": _describe_machine(self.device),
                "progress": progress.to_json(),
                "tensors": digest_file(temporary / TENSORS),
            }
            said["digest"] = digest_value(said)
            (temporary / MANIFEST).write_text(json.dumps(said), "utf-8")
            _bring_to_disk(temporary / TENSORS, temporary / MANIFEST, temporary)
            place = self.saving.folder / name
            shutil.rmtree(place, ignore_errors=True)  # it was damaged, or is the same
            temporary.rename(place)
        _bring_to_disk(self.saving.folder)
        # Newer ones are those that could not be used: this training came past their step again.
        before = [one for one in _list(self.saving.folder) if one.name <= name]
        for old in set(_list(self.saving.folder)) - set(before[-KEPT:]):
            shutil.rmtree(old, ignore_errors=True)


def _bring_to_disk(*paths: Path) -> None:
    for path in paths:
        with suppress(PermissionError):  # a folder, where the system has no such thing
            number = os.open(path, os.O_RDONLY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
