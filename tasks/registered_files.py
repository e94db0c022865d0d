"""Whether a model version is still there, and still what registering again would give."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tasks.registry import (
    INSIDE,
    PRESENT,
    TAG,
    connect,
    fetch_json,
    raise_if_silent,
)
from tasks.registry_tables import ask_database, read_champion, read_offer

if TYPE_CHECKING:
    from mlflow import MlflowClient

REPORT = "report.html"  # in the register stage's folder and among a run's files


def has_version(root: Path, name: str, version: str, run_id: str | None = None) -> bool:
    """Whether a model version is still registered and its files are there.

    Args:
        root: The project's folder.
        name: The registered model.
        version: Its number.
        run_id: The run that it must be of: another registry has other versions of that number.

    Raises:
        TunesmithError: The registry does not answer, which says nothing of the version.
    """
    rows = ask_database(
        root,
        "select storage_location, run_id from model_versions"
        f" where name = ? and version = ? and {PRESENT}",
        (name, int(version)),
    )
    if rows == [] or (rows and run_id not in (None, rows[0][1])):
        return False
    folder = find_local_folder(str(rows[0][0])) if rows and rows[0][0] else None
    if folder is not None:
        return (folder / "MLmodel").is_file()
    from mlflow.exceptions import MlflowException

    client = connect(root)
    try:
        found = client.get_model_version(name, version)
        same = run_id in (None, found.run_id)
        return same and found.status == "READY" and not list_missing(client, found)
    except MlflowException as error:
        raise_if_silent(root, error)
        return False


def has_run(root: Path, run_id: str) -> bool:
    """Whether a run is recorded here."""
    rows = ask_database(root, "select 1 from runs where run_uuid = ?", (run_id,))
    if rows is not None:
        return bool(rows)
    from mlflow.exceptions import MlflowException

    try:
        connect(root).get_run(run_id)
    except MlflowException as error:
        raise_if_silent(root, error)
        return False
    return True


def is_current(root: Path, name: str, facts: Mapping[str, Any]) -> bool:
    """Whether a kept registration is what registering again would give.

    It is not where its version has gone, or is another registry's, nor where its verdict was held
    against another champion than the present one, nor where a later run has led to another version;
    unless its version is that champion itself.

    Args:
        root: The project's folder.
        name: The registered model.
        facts: What the register stage kept.
    """
    own, run_id = facts["model_version"], facts.get("run_id")
    if own is not None and not has_version(root, name, str(own), run_id):
        return False
    if own is None and run_id is not None and not has_run(root, run_id):
        return False
    champion, held = read_champion(root, name), facts["gate"]["champion"]
    if champion is not None and champion == own:
        return True
    if champion != (None if held is None else held["model_version"]):
        return False
    return own is None or read_offer(root, name) in (None, str(own))


def find_local_folder(place: str) -> Path | None:
    """The folder that a file address or a path means; None for a place elsewhere."""
    parts = urlsplit(place)
    if parts.scheme not in ("", "file"):
        return None
    return Path(unquote(parts.path) if parts.scheme else place)


def list_missing(client: MlflowClient, version: Any) -> list[str]:
    """What of a version's model does not lie where the registry says, wherever that is.

    Its MLmodel file, and each weights file that its lineage record names.
    """
    from mlflow.artifacts import list_artifacts

    place = client.get_model_version_download_uri(version.name, str(version.version))
    wanted = ["MLmodel", *(f"{INSIDE}/{name}" for name in _recall_weights(client, version))]
    there: set[str] = set()
    for folder in {PurePosixPath(name).parent for name in wanted}:
        uri = place if folder == PurePosixPath() else f"{place.rstrip('/')}/{folder}"
        found = list_artifacts(artifact_uri=uri, tracking_uri=client.tracking_uri)
        there |= {str(folder / PurePosixPath(file.path).name) for file in found}
    return [name for name in wanted if name not in there]


def _recall_weights(client: MlflowClient, version: Any) -> list[str]:
    """The weights files of a version; none where no record names them."""
    from mlflow.exceptions import MlflowException

    if f"{TAG}.digest" not in version.tags or not version.run_id:
        return []
    try:
        return sorted(fetch_json(client, version.run_id, "lineage.json")["weights"])
    except (MlflowException, OSError, ValueError, KeyError, TypeError):
        return []
