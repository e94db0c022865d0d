"""MLflow's tracking store and registry: where they are, and what they hold."""

from __future__ import annotations

import json
import logging
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
PAGE = 1000  # entries that the registry is asked for at once: it gives no more registered models
SHOWN = 20  # versions that a message names
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


def read_pages(search: Callable[..., Any], **asked: Any) -> Iterator[Any]:
    """All that a search of MLflow's client finds, however many pages that are."""
    token = None
    while True:
        page = search(max_results=PAGE, page_token=token, **asked)
        yield from page
        if not (token := page.token):
            return


def list_versions(client: MlflowClient, name: str) -> list[Any]:
    """Every version of a registered model."""
    return list(read_pages(client.search_model_versions, filter_string=f"name='{name}'"))


def find_newest(client: MlflowClient, name: str, condition: str = "") -> Any | None:
    """The newest version of a registered model that fulfils a condition (MLflow's), or None."""
    wanted = f"name='{name}'{condition and f' and {condition}'}"
    found = client.search_model_versions(wanted, max_results=1, order_by=["version_number DESC"])
    return found[0] if found else None


def find_version(client: MlflowClient, reference: str) -> Any:
    """The model version that NAME@ALIAS, NAME/VERSION or NAME (its newest) means.

    Raises:
        InputError: There is none; with what there is.
    """
    from mlflow.exceptions import MlflowException

    name, alias, version = split_reference(reference)
    try:
        if alias:
            return client.get_model_version_by_alias(name, alias)
        if version:
            return client.get_model_version(name, version)
        if newest := find_newest(client, name):
            return newest
    except MlflowException:
        pass  # there is no such alias, version or model, or no answer: the next question tells
    raise wrong("MODEL", reference, _tell_versions(client, name))


def _tell_versions(client: MlflowClient, name: str) -> str:
    """What there is where a version was not found."""
    from mlflow.exceptions import MlflowException

    try:
        numbers = sorted(int(one.version) for one in list_versions(client, name))
    except MlflowException:
        numbers = []
    if not numbers:
        known = sorted(model.name for model in read_pages(client.search_registered_models))
        there = f"Registered are {', '.join(known)}." if known else "Nothing is registered yet."
        return f"There is no model {name}. {there}"
    more = "..., " if len(numbers) > SHOWN else ""
    aliases = ", ".join(sorted(client.get_registered_model(name).aliases)) or "(none)"
    shown = ", ".join(map(str, numbers[-SHOWN:]))
    return f"It has the versions {more}{shown} and the aliases {aliases}."


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
    return find_newest(client, name, f"tags.`{TAG}.digest` = '{digest}'")
