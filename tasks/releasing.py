"""Release: a new champion proved before anything relies on it, or the one before put back."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

from finetuning.errors import InputError, RefusedError
from finetuning.pipelines import find_pipeline, load_pipeline
from finetuning.succession import ELSEWHERE, PUT_BACK, ROLLED_BACK, find_earlier
from tasks.answering import ask_model
from tasks.champions import Succession, change_champion, read_succession
from tasks.promotion import check_files, list_usable, make_change
from tasks.registry import CHALLENGER, CHAMPION, TAG, connect, find_tracking_uri
from tasks.standing import OUTCOME, RELEASED, read_standing
from tasks.verdicts import list_refusals, read_verdict

if TYPE_CHECKING:
    from mlflow import MlflowClient

RELEASED_AT = f"{TAG}.released_at"  # on a version
LONGEST_HOOK = 600  # seconds
LONGEST_TAG = 1000  # characters
# What a hook's program needs to be found and to write text; nothing else of ours is its business.
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR")


@dataclass(frozen=True)
class Release:
    """A champion that has not been released.

    Attributes:
        name: The registered model.
        version: The champion.
        released: The champion released before; None where there was none.
    """

    root: Path
    name: str
    version: str
    released: str | None

    @property
    def uri(self) -> str:
        """By which the version is loaded."""
        return f"models:/{self.name}/{self.version}"


class ReleaseError(RefusedError):
    """A champion did not pass; `how` it is taken back."""

    def __init__(self, message: str, how: str) -> None:
        self.how = how
        super().__init__(message, {"status": "refused", "reasons": [message]})


def find_release(root: Path, name: str) -> Release | None:
    """The champion of a model where it was not released yet."""
    standing = read_standing(root, name)
    if standing.champion is None or not standing.is_unreleased:
        return None
    return Release(root, name, standing.champion, standing.released)


@task(name="check verdict")
def check_verdict(release: Release) -> None:
    """Refuse a champion that was set outside and that the gate did not let pass.

    What `promote` and `rollback` did, they checked, or a person set the verdict aside.

    Raises:
        ReleaseError: The gate refused it, or judged it against another champion.
    """
    client = connect(release.root)
    state = read_succession(client, release.name)
    periods = state.tell()
    if not periods or periods[-1].how != ELSEWHERE:
        return
    version = client.get_model_version(release.name, release.version)
    before = release.released or (periods[-2].version if len(periods) > 1 else None)
    if refusals := list_refusals(version, read_verdict(client, version), before):
        raise ReleaseError("; ".join(refusals), PUT_BACK)


@task(name="load and answer")
def load_and_answer(release: Release) -> None:
    """Load the champion by its URI in a fresh process, and let it answer its input example.

    Raises:
        ReleaseError: It does not load, does not answer, or has no example.
    """
    client = connect(release.root)
    try:
        check_files(client, client.get_model_version(release.name, release.version))
        rows = read_example(release.uri)
        uri = find_tracking_uri(release.root)
        answers = ask_model(release.uri, uri, {"example": rows})
    except InputError as error:
        raise ReleaseError(str(error), ROLLED_BACK) from None
    if answers.error is not None:
        raise ReleaseError(f"it does not answer: {answers.error}", ROLLED_BACK)
    if len(answers.tables["example"]) != len(rows):
        raise ReleaseError("it does not answer every row of its input example", ROLLED_BACK)


def read_example(uri: str) -> Any:
    """The input example that was logged with a model, as a table."""
    import mlflow
    import pandas

    with tempfile.TemporaryDirectory() as folder:
        # The example lies beside the MLmodel file; the weights are not fetched for it.
        model = mlflow.models.Model.load(uri)
        if model.saved_input_example_info is None:
            raise ReleaseError("no input example was logged with it", ROLLED_BACK)
        name = model.saved_input_example_info["artifact_path"]
        mlflow.artifacts.download_artifacts(f"{uri}/{name}", dst_path=folder)
        example = model.load_input_example(folder)
    return example if isinstance(example, pandas.DataFrame) else pandas.DataFrame(example)


@task(name="run on_release")
def run_hook(release: Release) -> None:
    """Run the pipeline file's on_release, without a shell and with an environment of its own.

    Raises:
        ReleaseError: It did not end well.
    """
    try:
        command = load_pipeline(find_pipeline(release.root, release.name)).on_release
    except InputError:
        command = None  # the model is not made by a pipeline of this checkout
    if command is None:
        return
    environment = {name: os.environ[name] for name in PASSED_ON if name in os.environ} | {
        "MLFLOW_TRACKING_URI": find_tracking_uri(release.root),
        "TUNESMITH_MODEL_URI": release.uri,
        "TUNESMITH_MODEL_NAME": release.name,
        "TUNESMITH_MODEL_VERSION": release.version,
        "TUNESMITH_PREVIOUS_VERSION": release.released or "",
    }
    try:
        done = subprocess.run(
            command,
            cwd=release.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST_HOOK,
            check=False,
        )
    except subprocess.TimeoutExpired:
        said = f"on_release did not end within {LONGEST_HOOK} s"
        raise ReleaseError(said, ROLLED_BACK) from None
    except (OSError, ValueError) as error:
        said = f"on_release cannot be run: {getattr(error, 'strerror', None) or error}"
        raise ReleaseError(said, ROLLED_BACK) from None
    if done.returncode:
        last = " ".join(done.stderr.split())[-300:]
        said = f"on_release ended with code {done.returncode}: {last}"
        raise ReleaseError(said, ROLLED_BACK)


@task(name="record release", retries=3, retry_delay_seconds=2)
def record_release(release: Release) -> str:
    """Write down that the champion was released; it waits no longer as challenger.

    Returns:
        When.
    """
    client, moment = connect(release.root), _tell_now()
    client.set_model_version_tag(release.name, release.version, RELEASED_AT, moment)
    client.set_model_version_tag(release.name, release.version, OUTCOME, f"released {moment}")
    if read_succession(client, release.name).aliases.get(CHALLENGER) == release.version:
        client.delete_registered_model_alias(release.name, CHALLENGER)
    client.set_registered_model_tag(release.name, RELEASED, f"{release.version} {moment}")
    return moment


@task(name="put back", retries=3, retry_delay_seconds=2)
def put_back(release: Release, reason: str, how: str) -> str | None:
    """Make the champion before a refused one champion again, unless somebody did already.

    Args:
        release: The refused one.
        reason: Why, for the history and for whoever looks at the version.
        how: `put back` where the gate was passed over; `rolled back` where the model failed, which
            is then not offered again.

    Returns:
        The champion now; None where there is none.
    """
    client = connect(release.root)
    said = f"refused {_tell_now()}: {reason}"[:LONGEST_TAG]
    client.set_model_version_tag(release.name, release.version, OUTCOME, said)

    def decide(state: Succession) -> Any:
        if state.champion != release.version:
            return None
        target = find_former(client, state, release)
        if target is None:
            client.delete_registered_model_alias(release.name, CHAMPION)
            return None
        earlier = list_usable(client, state) - {target, release.version}
        previous = find_earlier(state.tell(), earlier)
        why = reason[:LONGEST_TAG]
        return make_change(release.root, state, target, previous=previous, how=how, why=why)

    change_champion(client, release.root, release.name, decide)
    return read_succession(client, release.name).champion


def find_former(client: MlflowClient, state: Succession, release: Release) -> str | None:
    """The champion that was released last, or else the one before in the history."""
    usable = list_usable(client, state) - {release.version}
    if release.released in usable:
        return release.released
    return find_earlier(state.tell(), usable)


def _tell_now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
