"""The plan of a run: every stage's key, and why it would run, before anything heavy is imported."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.digests import digest_code, digest_value, write_atomically
from finetuning.problem import find_problem
from finetuning.remote_store import VARIABLE, RemoteStore
from finetuning.store import Store
from tasks.explanations import explain, remember_code

if TYPE_CHECKING:
    from finetuning.config import Pipeline
    from finetuning.lineage import Commit
    from finetuning.problem import Part
    from finetuning.sources import BaseModel
    from tasks.versioning import DataVersion

STATE = ".tunesmith"
READ = "read"  # of a snapshot's facts: the digest of what a later stage reads of it, by stage
STAGES = ("snapshot", "validate", "encode", "train", "evaluate", "register")
# Config keys that shape a stage's output, the stages it reads, and the libraries it computes with.
_CONFIG: dict[str, tuple[str, ...]] = {
    "snapshot": (
        "problem",
        "data.path",
        "data.train",
        "data.validation",
        "data.test",
        "data.columns",
        "data.slices",
    ),
    "validate": ("problem", "data.columns", "data.labels", "data.expectations"),
    "features": ("model.revision",),
    "encode": (
        "problem",
        "data.columns",
        "data.labels",
        "model.revision",
        "training.max_length",
        "training.stride",
        "training.image_size",
    ),
    "train": ("model.revision", "model.dropout", "strategy", "training"),
    "evaluate": ("data.columns", "data.slices"),
    "register": ("name", "problem", "gate"),
}
# Keys that say how a stage goes about its work: they do not shape what it makes.
_SHAPELESS = ("training.checkpoint_steps",)
_UPSTREAM: dict[str, tuple[str, ...]] = {
    "snapshot": (),
    "validate": ("snapshot",),
    "encode": ("snapshot",),
    "features": ("encode",),
    "train": ("encode",),
    "evaluate": ("snapshot", "encode", "train"),
    "register": ("snapshot", "validate", "evaluate"),
}
_LIBRARIES: dict[str, tuple[str, ...]] = {
    "snapshot": ("pandas", "pillow", "pyarrow"),
    "validate": ("great-expectations", "pandas"),
    "encode": ("pillow", "transformers", "tokenizers"),
    "features": ("torch", "transformers"),
    "train": ("torch", "transformers", "accelerate", "peft"),
    "evaluate": ("torch", "transformers", "scikit-learn", "scipy"),
    "register": ("mlflow", "numpy", "scipy"),
}
_MODULES: dict[str, str] = {
    "snapshot": "tasks.snapshot",
    "validate": "tasks.checking",
    "encode": "tasks.encoding",
    "features": "finetuning.probing",
    "train": "tasks.training",
    "evaluate": "tasks.evaluation",
    "register": "tasks.registration",
}
# The parts of the problem that a stage runs.
_PARTS: dict[str, tuple[Part, ...]] = {
    "snapshot": ("reading",),
    "validate": ("checking",),
    "encode": ("encoding",),
    "features": ("encoding", "modelling"),
    "train": ("encoding", "modelling", "scoring"),
    "evaluate": ("encoding", "modelling", "scoring", "comparing"),
    "register": ("scoring",),
}
_READS_BASE = ("encode", "features", "train")


@dataclass(frozen=True)
class StagePlan:
    """One stage's key, what it was made from, and why it would run."""

    name: str
    key: str
    components: dict[str, Any]
    why: str


@dataclass(frozen=True)
class Work:
    """What a run works on: resolved, and small enough to pass between tasks."""

    root: Path
    pipeline: Pipeline
    data: DataVersion
    base: BaseModel
    plans: dict[str, StagePlan]
    commit: Commit | None = None  # as the run began: somebody may commit while it goes on

    @property
    def store(self) -> Store:
        """Where stages keep what they made."""
        return open_store(self.root)

    @property
    def state(self) -> Path:
        """The folder of this project's local state."""
        return self.root / STATE


def open_store(root: Path) -> Store:
    """The project's store, with the remote one behind it that the environment names."""
    address = os.environ.get(VARIABLE)
    return Store(root / STATE / "store", RemoteStore(address) if address else None)


def plan(root: Path, pipeline: Pipeline, data: DataVersion, base: BaseModel) -> Work:
    """Plan every stage of a run.

    Where a snapshot of the data is kept, what the stages after it read of it stands in their keys,
    and not how it came about: another snapshot with the same content leaves them as they are.
    """
    config = pipeline.model_dump(mode="json")
    before, parts = recall(root, pipeline.name), find_problem(pipeline.problem).parts
    plans: dict[str, StagePlan] = {}
    read: dict[str, str] = {}
    for name in ("snapshot", "validate", "encode", "features", "train", "evaluate", "register"):
        components: dict[str, Any] = {
            "config": _select(config, _CONFIG[name]),
            "code": dict(_read_code(_MODULES[name], *(parts[part] for part in _PARTS[name]))),
            "libraries": {library: _read_version(library) for library in _LIBRARIES[name]},
            "upstream": {
                stage: read.get(name, plans[stage].key) if stage == "snapshot" else plans[stage].key
                for stage in _UPSTREAM[name]
            },
        }
        if name == "snapshot":
            components["data"] = dict(data.files)
        if name in _READS_BASE:
            components["base model"] = {"content": base.digest}
        key = digest_value(components)
        why = explain(components, before.get(name), find_definitions(root))
        plans[name] = StagePlan(name, key, components, why)
        if name == "snapshot":
            read = (open_store(root).look(name, key) or {}).get(READ, {})
    return Work(root, pipeline, data, base, plans)


def settle(work: Work) -> Work:
    """Plan again, once the snapshot is there: now it is known what the later stages read of it."""
    return replace(plan(work.root, work.pipeline, work.data, work.base), commit=work.commit)


def describe_trial(work: Work, pipeline: Pipeline, size: int) -> dict[str, Any]:
    """What a comparison's trial is made from: its digest is the trial's key.

    Args:
        work: The comparison's work.
        pipeline: The pipeline with the trial's strategy and seed.
        size: Number of training rows.
    """
    config, parts = pipeline.model_dump(mode="json"), find_problem(pipeline.problem).parts
    own = (parts[part] for part in _PARTS["train"])
    return {
        "config": _select(config, _CONFIG["train"]),
        "size": size,
        "code": dict(_read_code("finetuning.trials", *own)),
        "libraries": {library: _read_version(library) for library in _LIBRARIES["train"]},
        "upstream": {"encode": work.plans["encode"].key},
        "base model": {"content": work.base.digest},
    }


# The code that runs is the code that was imported: within a process neither can change.
_read_code = cache(digest_code)
_read_version = cache(metadata.version)


def _select(config: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    """Some keys of a config, with what lies under them, but for those that shape nothing."""
    return {key: _look_up(config, key) for key in keys}


def _look_up(config: Mapping[str, Any], key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value[part]
    if not isinstance(value, dict):
        return value
    return {name: one for name, one in value.items() if f"{key}.{name}" not in _SHAPELESS}


def recall(root: Path, name: str) -> dict[str, Any]:
    """What each stage of a pipeline was made from when it last ran."""
    try:
        value = json.loads(_memory(root, name).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def remember(work: Work, stage: str) -> None:
    """Keep what a stage was made from, so that the next run can say what changed."""
    known = recall(work.root, work.pipeline.name)
    known[stage] = work.plans[stage].components
    write_atomically(_memory(work.root, work.pipeline.name), json.dumps(known))
    remember_code(find_definitions(work.root), work.plans[stage].components["code"])


def _memory(root: Path, name: str) -> Path:
    return root / STATE / "plans" / f"{name}.json"


def find_definitions(root: Path) -> Path:
    """The file that remembers what the modules held that stages were made from."""
    return root / STATE / "definitions.json"
