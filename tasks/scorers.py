"""A registered version that scores rows: which one, what it reads, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import Fault, InputError
from tasks.promotion import check_files
from tasks.registry import (
    CHALLENGER,
    TAG,
    find_champion,
    find_tracking_uri,
    find_version,
    reach,
    split_reference,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

IMAGES = "binary"  # MLflow's type of a column that holds the bytes of files


@dataclass(frozen=True)
class Scorer:
    """A version, as its own record says; an alias that moves later changes nothing.

    digest: what registered it. roles: role -> the column that it reads. optional: roles that a
    table may lack. served: MLflow's type of its columns. answers: column -> string, double or long.
    settings: what a caller may set -> its type.
    """

    name: str
    version: str
    digest: str
    roles: Mapping[str, str]
    optional: tuple[str, ...]
    served: str
    answers: Mapping[str, str]
    settings: Mapping[str, str]
    tracking_uri: str

    @property
    def uri(self) -> str:
        """How MLflow loads it."""
        return f"models:/{self.label}"

    @property
    def label(self) -> str:
        """NAME/VERSION, which every scored row bears."""
        return f"{self.name}/{self.version}"

    def check_settings(self, parameters: Mapping[str, float]) -> dict[str, float | int]:
        """What a caller sets, as the model takes it.

        Raises:
            InputError: It takes no such setting, or the number is below 0 or no whole one.
        """
        faults: list[Fault] = []
        taken: dict[str, float | int] = {}
        for name, value in parameters.items():
            whole = self.settings.get(name) == "long"
            if name not in self.settings:
                remedy = f"{self.label} has {', '.join(self.settings) or 'nothing to set'}."
                faults.append(Fault(f"--parameter {name}", str(value), remedy))
            elif not 0 <= value < float("inf") or (whole and value != int(value)):
                remedy = f"Give a {'whole ' if whole else ''}number that is at least 0."
                faults.append(Fault(f"--parameter {name}", str(value), remedy))
            else:
                taken[name] = int(value) if whole else float(value)
        if faults:
            raise InputError(faults)
        return taken


def find_scorer(root: Path, reference: str) -> Scorer:
    """The version that NAME (its champion), NAME@ALIAS or NAME/VERSION means now.

    Raises:
        InputError: There is none, its files are gone, or Tunesmith has not registered it.
    """
    import mlflow

    with reach(root, reference) as client:
        version = _choose(client, reference)
        check_files(client, version)
        info = mlflow.models.get_model_info(f"models:/{version.name}/{version.version}")
    config = info.flavors.get("python_function", {}).get("config") or {}
    label, signature = f"{version.name}/{version.version}", info.signature
    if "problem" not in config or signature is None or signature.outputs is None:
        remedy = "It says neither what it reads nor what it answers: was it not made by Tunesmith?"
        raise InputError([Fault("MODEL", label, remedy)])
    roles = dict(config["columns"])
    required = {column.name for column in signature.inputs if column.required}
    return Scorer(
        name=version.name,
        version=str(version.version),
        digest=str(version.tags.get(f"{TAG}.digest") or info.model_uuid),
        roles=roles,
        optional=tuple(role for role, name in roles.items() if name not in required),
        served=signature.inputs.inputs[0].type.name,
        answers={column.name: column.type.name for column in signature.outputs},
        settings={one.name: one.dtype.name for one in signature.params or ()},
        tracking_uri=find_tracking_uri(root),
    )


def _choose(client: MlflowClient, reference: str) -> Any:
    name, alias, number = split_reference(reference)
    found = find_version(client, reference)
    if alias or number:
        return found
    champion = find_champion(client, name)
    if champion is None:
        aliases = client.get_registered_model(name).aliases
        other = f"{name}@{CHALLENGER}" if CHALLENGER in aliases else f"{name}/{found.version}"
        remedy = f"Promote a version (tunesmith promote {name}), or ask for one: {other}"
        raise InputError([Fault("MODEL", f"{name!r}, which has no champion", remedy)])
    return champion
