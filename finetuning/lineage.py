"""The lineage record: from a model version to the data, code, config and base that made it."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "safetensors",
    "numpy",
    "pandas",
    "scikit-learn",
    "mlflow",
    "prefect",
    "dvc",
    "great-expectations",
)


@dataclass(frozen=True)
class Commit:
    """The git commit that a run's code and pointers stood at."""

    sha: str | None
    dirty: bool
    difference: str | None  # digest of what is not committed


@dataclass(frozen=True)
class Lineage:
    """Everything that a model version was made from, and by whom."""

    pipeline: str
    data_path: str
    data_version: str
    data_pointer: str | None
    row_digests: dict[str, str]
    commit: Commit
    config: dict[str, Any]
    config_digest: str
    code: dict[str, str]
    code_digest: str
    base_model: str
    base_revision: str | None
    base_digest: str
    libraries: dict[str, str]
    python: str
    device: dict[str, Any]
    seed: int
    stages: dict[str, str]
    validation: dict[str, Any]
    verdict: dict[str, Any]
    flow_run_id: str | None
    run_id: str | None
    asked_by: str
    not_reproducible: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """The record by name, nested."""
        return asdict(self)


def list_libraries() -> dict[str, str]:
    """Versions of the libraries that shape a model."""
    return {name: metadata.version(name) for name in LIBRARIES}


def describe_python() -> str:
    """Python's version and the platform's."""
    return f"{platform.python_version()} on {platform.system()} {platform.machine()}"


def find_asker(environment: Mapping[str, str] = os.environ) -> str:
    """Who asked for the run: the login name, as the system tells it."""
    return environment.get("TUNESMITH_USER") or environment.get("USER") or "unknown"


def list_obstacles(commit: Commit, base_revision: str | None, base: str) -> tuple[str, ...]:
    """Why the record could not be reproduced, said while it can still be mended."""
    obstacles = []
    if commit.sha is None:
        obstacles.append("the project is not in a git repository with a commit")
    elif commit.dirty:
        obstacles.append("the working tree differed from the commit: commit, then run again")
    local = base_revision is None and not base.startswith("package:")
    if local and base.startswith((".", "/", "~")):
        obstacles.append("the base model is a local folder, which git and DVC do not keep")
    return tuple(obstacles)
