"""The lineage record: from a model version to the data, code, config and base that made it."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.digests import digest_file, digest_value

if TYPE_CHECKING:
    import pandas

    from finetuning.sources import BaseModel

LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "accelerate",
    "peft",
    "pillow",
    "safetensors",
    "numpy",
    "pandas",
    "scikit-learn",
    "mlflow",
    "prefect",
    "dvc",
    "great-expectations",
)
# Columns of a prediction table that say what was answered, in the order of their digest.
PREDICTED = ("id", "label", "prediction", "score", "loss", "tokens")


@dataclass(frozen=True)
class Commit:
    """The git commit that a run's code and pointers stood at."""

    sha: str | None
    dirty: bool
    difference: str | None  # digest of what is not committed


@dataclass(frozen=True)
class Lineage:
    """Everything that a model version was made from, and by whom.

    A record may have been written before a field was thought of: read it by name, with a default.

    Attributes:
        weights: Path of each weights file below the model's folder -> SHA-256.
        predictions: Digest of the test rows' predictions, see `digest_predictions`.
        seeds: What is drawn -> its seed.
        parent: The registered model that was warm-started from, with its version, or None.
    """

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
    parent: dict[str, str] | None
    libraries: dict[str, str]
    python: str
    device: dict[str, Any]
    seeds: dict[str, int]
    stages: dict[str, str]
    weights: dict[str, str]
    predictions: str
    metrics: dict[str, float]
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


def digest_weights(folder: Path) -> dict[str, str]:
    """SHA-256 of each safetensors file of a model's folder, by its path below that."""
    return {
        path.relative_to(folder).as_posix(): digest_file(path)
        for path in sorted(folder.rglob("*.safetensors"))
    }


def digest_predictions(table: pandas.DataFrame) -> str:
    """Digest of what a prediction table says of each row, in the rows' order.

    That is its id, and label, prediction, score, loss and tokens where the problem has them.
    """
    named = [name for name in PREDICTED if name in table.columns]
    return digest_value(table[named].to_numpy().tolist())


def list_obstacles(
    commit: Commit, pointer: str | None, base: BaseModel, kept: bool = False
) -> tuple[str, ...]:
    """Why the record could not be reproduced, said while it can still be mended.

    Args:
        commit: The commit that the run stood at.
        pointer: The data version that the commit holds; None where the data is not versioned.
        base: The base model.
        kept: Whether the commit holds the base model's folder.
    """
    obstacles = list(list_hindrances(commit.sha, commit.dirty, pointer))
    if base.origin == "folder" and not kept:
        obstacles.append(
            "the base model is a local folder, which neither git nor DVC is known to keep: "
            "commit that folder, or name a hub id, a package or a registered model"
        )
    return tuple(obstacles)


def list_hindrances(sha: str | None, dirty: bool, pointer: str | None) -> tuple[str, ...]:
    """What of code and data no checkout could bring back."""
    found = []
    if sha is None:
        found.append("the project is not in a git repository with a commit")
    elif dirty:
        found.append("the working tree differed from the commit: commit, then run again")
    if pointer is None:
        found.append("the data is not versioned: dvc add data, commit data.dvc, then run again")
    return tuple(found)
