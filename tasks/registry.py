"""MLflow's tracking store and registry: where they are, and what they hold."""

from __future__ import annotations

import json
import logging
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.addresses import hide_password
from finetuning.errors import TunesmithError, wrong
from finetuning.failures import recognise

if TYPE_CHECKING:
    from mlflow import MlflowClient

DATABASE = "mlruns/mlflow.db"
ARTIFACTS = "mlruns/artifacts"
CHAMPION = "champion"
CHALLENGER = "challenger"
PREVIOUS = "previous"  # the version that a rollback brings back
TAG = "tunesmith"
OFFERED = f"{TAG}.offered"  # on a registered model: the version that the last run led to, and when
INSIDE = "artifacts/model"  # of a version's folder: what from_pretrained opens
SQLITE = "sqlite:///"
HTTP_RETRIES = "2"  # of MLflow's own: a server that is down is said so after seconds
# MLflow marks a deleted version and keeps its row.
PRESENT = "current_stage <> 'Deleted_Internal'"
VERSIONS = f"select name, version, creation_time, run_id from model_versions where {PRESENT}"


def find_tracking_uri(root: Path) -> str:
    """MLFLOW_TRACKING_URI where it is set, else the SQLite database under mlruns/.

    A database's path is absolute: the processes that are started elsewhere must find the same one.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}{root / DATABASE}"
    if uri.startswith(SQLITE):
        return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).absolute()}"
    return uri


def connect(root: Path) -> MlflowClient:
    """A client of the project's tracking store; the database is made where there is none."""
    import mlflow

    uri = find_tracking_uri(root)
    if uri.startswith(SQLITE):
        _make_database(uri)
    mlflow.set_tracking_uri(uri)
    return mlflow.MlflowClient()


@cache
def _make_database(uri: str) -> None:
    """Make a database, or bring it up to MLflow's version, one process at a time.

    MLflow's migrations fail where two processes begin them together.
    """
    import mlflow
    from filelock import FileLock

    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_suffix(".lock")):
        mlflow.MlflowClient(uri).search_experiments(max_results=1)


def connect_quietly(root: Path) -> MlflowClient:
    """A client for commands whose output is all that a person wants to read."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", HTTP_RETRIES)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    return connect(root)


@contextmanager
def reach(root: Path, reference: str) -> Iterator[MlflowClient]:
    """A client of a registry that must be there already, to ask about a model.

    Raises:
        InputError: Nothing has been registered in this project yet.
        TunesmithError: The registry does not answer, or answers with an error.
    """
    uri = find_tracking_uri(root)
    if uri.startswith(SQLITE) and not Path(uri.removeprefix(SQLITE)).is_file():
        raise wrong("MODEL", reference, "Nothing is registered yet: `tunesmith run NAME` does it.")
    from mlflow.exceptions import MlflowException

    client = connect_quietly(root)
    try:
        yield client
    except MlflowException as error:
        raise explain_silence(uri, error) from None


def explain_silence(uri: str, error: Exception) -> TunesmithError:
    """What MLflow's error means to a person, in one line."""
    reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
    said = f"the registry at {uri} does not answer: {reason}"
    return TunesmithError(hide_password(said))


def raise_if_silent(root: Path, error: Exception) -> None:
    """Tell a registry that does not answer from one that says no.

    Raises:
        TunesmithError: It does not answer.
    """
    known = recognise(error)
    if known is not None and known[0].passing:
        raise explain_silence(find_tracking_uri(root), error) from None


def find_experiment(client: MlflowClient, root: Path, name: str) -> str:
    """Id of a pipeline's experiment, made where there is none."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        local = find_tracking_uri(root).startswith(SQLITE)
        place = (root / ARTIFACTS / name).as_uri() if local else None
        try:
            return str(client.create_experiment(name, artifact_location=place))
        except MlflowException:
            found = client.get_experiment_by_name(name)  # another run made it just now
            if found is None:
                raise
    return str(found.experiment_id)


def read_champion(root: Path, name: str) -> str | None:
    """The version that bears the alias champion, or None."""
    rows = ask_database(
        root,
        "select version from registered_model_aliases where name = ? and alias = ?",
        (name, CHAMPION),
    )
    if rows is not None:
        return str(rows[0][0]) if rows else None
    found = find_champion(connect(root), name)
    return None if found is None else str(found.version)


def read_offer(root: Path, name: str) -> str | None:
    """The version that a pipeline's last run led to, new or old; None where that is unknown."""
    query = "select value from registered_model_tags where name = ? and key = ?"
    rows = ask_database(root, query, (name, OFFERED))
    if rows is None:
        from mlflow.exceptions import MlflowException

        try:
            tags = connect(root).get_registered_model(name).tags
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        rows = [(tags[OFFERED],)] if OFFERED in tags else []
    return str(rows[0][0]).partition(" ")[0] if rows else None


def ask_database(
    root: Path, query: str, values: tuple[str | int, ...]
) -> list[tuple[Any, ...]] | None:
    """Rows of a local database; None where the registry is not one, or it does not answer.

    It is asked directly: importing MLflow would cost more than all the rest of an unchanged run.
    """
    uri = find_tracking_uri(root)
    if not uri.startswith(SQLITE):
        return None
    path = Path(uri.removeprefix(SQLITE))
    if not path.is_file():
        return []
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            return database.execute(query, values).fetchall()
    except (sqlite3.DatabaseError, OverflowError):
        return None  # another version of MLflow keeps its tables otherwise: ask MLflow itself


def fetch_json(client: MlflowClient, run_id: str, name: str) -> Any:
    """The content of a JSON file that was kept with a run.

    Raises:
        MlflowException: The run or the file is not there.
        OSError: The file cannot be read.
        ValueError: It is no JSON.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run_id, name, folder)
        return json.loads(Path(path).read_text("utf-8"))


def split_reference(reference: str) -> tuple[str, str | None, str | None]:
    """Name, alias and version of NAME, NAME@ALIAS or NAME/VERSION.

    Raises:
        InputError: It is none of these.
    """
    parts = re.fullmatch(r"(?:models:/)?([^@/]+)(?:@([^@/]+)|/([^@/]+))?", reference)
    if parts is None:
        raise wrong("MODEL", reference, "Write NAME, NAME@ALIAS or NAME/VERSION.")
    name, alias, version = parts.groups()
    return name, alias, version


def find_version(client: MlflowClient, reference: str) -> Any:
    """The model version that NAME@ALIAS, NAME/VERSION or NAME (its newest) means.

    Raises:
        InputError: There is none; with what there is.
    """
    from mlflow.exceptions import MlflowException

    name, alias, version = split_reference(reference)
    try:
        versions = list(client.search_model_versions(f"name='{name}'"))
    except MlflowException:
        versions = []
    if not versions:
        known = sorted(model.name for model in client.search_registered_models())
        there = f"Registered are {', '.join(known)}." if known else "Nothing is registered yet."
        raise wrong("MODEL", reference, f"There is no model {name}. {there}")
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        if version:
            return client.get_model_version(name, version)
    except MlflowException:
        aliases = sorted(client.get_registered_model(name).aliases)
        remedy = (
            f"It has the versions {', '.join(sorted((str(v.version) for v in versions), key=int))}"
            f" and the aliases {', '.join(aliases) or '(none)'}."
        )
        raise wrong("MODEL", reference, remedy) from None
    return max(versions, key=lambda found: int(found.version))


def find_champion(client: MlflowClient, name: str) -> Any | None:
    """The version that bears the alias champion, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(name, CHAMPION)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            return None  # no such alias, or no such model
        # A server with users forbids to ask about a model that is not there.
        denied = error.error_code == "PERMISSION_DENIED"
        if denied and not client.search_registered_models(f"name='{name}'"):
            return None
        raise


def find_registered(client: MlflowClient, name: str, digest: str) -> Any | None:
    """The newest version that was registered under a digest already, or None."""
    versions = client.search_model_versions(f"name='{name}'")
    known = [one for one in versions if one.tags.get(f"{TAG}.digest") == digest]
    return max(known, key=lambda one: int(one.version), default=None)
