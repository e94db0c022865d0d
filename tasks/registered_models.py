"""A registered model's files: as the base of another, and to hold a second making against."""

from __future__ import annotations

import re
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import Fault, InputError, wrong
from finetuning.lineage import digest_weights
from tasks.planning import STATE
from tasks.registered_files import find_local_folder
from tasks.registry import (
    INSIDE,
    PRESENT,
    SQLITE,
    connect,
    explain_silence,
    find_tracking_uri,
    find_version,
)
from tasks.registry_tables import ask_database

if TYPE_CHECKING:
    import pandas

SCHEME = "models:/"
PREDICTIONS = "predictions.parquet"
TESTED = "test/"
_REFERENCE = re.compile(r"models:/(?P<name>[^@/]+)(?:@(?P<alias>[^@/]+)|/(?P<version>\d+))")


@dataclass(frozen=True)
class RegisteredModel:
    """A model version and the folder of its weights and tokenizer."""

    name: str
    version: str
    folder: Path


@dataclass(frozen=True)
class Evidence:
    """What tells whether a model that was made again is the same.

    Attributes:
        weights: Weights file -> SHA-256.
        predictions: The prediction table of the test rows.
        metrics: The test metrics.
    """

    weights: dict[str, str]
    predictions: pandas.DataFrame
    metrics: dict[str, float]


def is_reference(base: str) -> bool:
    """Whether a base model is meant to be a registered one."""
    return base.startswith(SCHEME)


def split_alias(base: str) -> tuple[str, str | None]:
    """Name and alias (None where a version is named) of models:/NAME@ALIAS or models:/NAME/VERSION.

    Raises:
        InputError: It is neither.
    """
    parts = _REFERENCE.fullmatch(base)
    if parts is None:
        remedy = "Write models:/NAME@ALIAS or models:/NAME/VERSION."
        raise wrong("model.base", base, remedy)
    return parts["name"], parts["alias"]


def find_registered_model(root: Path, base: str, fetch: bool = True) -> RegisteredModel | None:
    """Find a registered model's files.

    A local database is asked directly: importing MLflow would cost more than all the rest of an
    unchanged run.

    Args:
        root: The project's folder.
        base: models:/NAME@ALIAS or models:/NAME/VERSION.
        fetch: Download from a tracking server what is not here.

    Returns:
        The model; None where it is not here and fetch is False.

    Raises:
        InputError: There is no such version, or its files are gone.
    """
    name, alias = split_alias(base)
    uri = find_tracking_uri(root)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise wrong("model.base", base, "Nothing is registered yet: `tunesmith run` does it.")
    version, place = _ask_database(root, name, alias, base) or _ask_registry(root, base)
    local = find_local_folder(place)
    folder = local / INSIDE if local else _download(root, name, version, place, fetch)
    if folder is None:
        return None
    if not folder.is_dir():
        remedy = "Bring them back from a backup, or name another version."
        raise InputError([Fault("model.base", f"no files of {name}/{version} at {folder}", remedy)])
    return RegisteredModel(name, version, folder)


def _ask_database(root: Path, name: str, alias: str | None, base: str) -> tuple[str, str] | None:
    query = f"select version, storage_location from model_versions where {PRESENT} and name = ?"
    if alias is None:
        query += " and version = ?"
        values: tuple[str | int, ...] = (name, int(base.rpartition("/")[2]))
    else:
        query += (
            " and version = (select version from registered_model_aliases"
            " where name = ? and alias = ?)"
        )
        values = (name, name, alias)
    rows = ask_database(root, query, values)
    return (str(rows[0][0]), str(rows[0][1])) if rows and rows[0][1] else None


def _ask_registry(root: Path, base: str) -> tuple[str, str]:
    from mlflow.exceptions import MlflowException

    client = connect(root)
    try:
        version = find_version(client, base)
        place = client.get_model_version_download_uri(version.name, version.version)
    except InputError as error:
        faults = [Fault("model.base", fault.found, fault.remedy) for fault in error.faults]
        raise InputError(faults) from None
    except MlflowException as error:
        raise explain_silence(find_tracking_uri(root), error) from None
    return str(version.version), str(place)


def _download(root: Path, name: str, version: str, place: str, fetch: bool) -> Path | None:
    """A version's files from a tracking server: a version never changes, so once is enough."""
    # The server's own place is in the name: another server has other versions of the same number.
    kept = root / STATE / "models" / f"{name}-{version}-{uuid.uuid5(uuid.NAMESPACE_URL, place)}"
    if not kept.is_dir():
        if not fetch:
            return None
        import mlflow

        connect(root)
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as temporary:
            made = Path(temporary, "made")
            made.mkdir()
            mlflow.artifacts.download_artifacts(f"{SCHEME}{name}/{version}", dst_path=str(made))
            try:
                made.rename(kept)
            except OSError:
                if not kept.is_dir():  # else another process brought it just now
                    raise
    return kept / INSIDE


def gather_evidence(root: Path, record: Mapping[str, Any]) -> Evidence:
    """What a registered version is compared by.

    Args:
        root: The project's folder.
        record: Its lineage record; one that was written before it held the weights' digests is
            completed from the version's files.

    Raises:
        InputError: The run, its predictions or its weights are gone.
    """
    import pandas
    from mlflow.exceptions import MlflowException

    name, version, run_id = record["pipeline"], record["model_version"], record.get("run_id")
    remedy = f"Bring the run's artifacts back, or run again: tunesmith run {name}"
    client = connect(root)
    try:
        run = client.get_run(str(run_id))
        with tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(str(run_id), PREDICTIONS, folder)
            predictions = pandas.read_parquet(path)
    except (MlflowException, OSError, ValueError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        found = f"none with run {run_id} ({reason})"
        raise InputError([Fault(f"{name}/{version}, {PREDICTIONS}", found, remedy)]) from None
    weights = record.get("weights")
    if not weights:
        model = find_registered_model(root, f"{SCHEME}{name}/{version}")
        weights = {} if model is None else digest_weights(model.folder)
    metrics = {key: value for key, value in run.data.metrics.items() if key.startswith(TESTED)}
    return Evidence(dict(weights), predictions, metrics)
