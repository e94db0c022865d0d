"""MLflow runs whose process has gone: they are ended, so that none seems to go on for ever."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from prefect import task
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger

from tasks.announcing import FLOW_RUN, describe_flow_run
from tasks.noted_processes import has_gone, list_gone, mark_process
from tasks.patience import find_silence
from tasks.registry import PAGE, TAG, connect, find_tracking_uri, read_pages
from tasks.registry_tables import ask_questions
from tasks.runs import ORPHANED, find_ended

if TYPE_CHECKING:
    from mlflow import MlflowClient

PROCESS = f"{TAG}.process"  # on a run: the machine, process id and beginning of what writes it
_QUESTION = (
    "select t.run_uuid, t.key, t.value from runs r join tags t on t.run_uuid = r.run_uuid"
    " where r.status = 'RUNNING' and r.lifecycle_stage = 'active' and t.key in (?, ?)"
)
Marks = dict[str, dict[str, str]]  # run -> which of the two tags, and what it says


def name_writer() -> dict[str, str]:
    """The tags of a run that this process writes: what tells it from others, and its flow run."""
    return {PROCESS: mark_process(), **describe_flow_run()}


def has_ended(tags: Mapping[str, str], ended: Collection[str]) -> bool:
    """Whether a run's writer has ended: its process on this machine, elsewhere its flow run."""
    gone = has_gone(tags[PROCESS]) if PROCESS in tags else None
    return tags.get(FLOW_RUN) in ended if gone is None else gone


@contextmanager
def under_way(client: MlflowClient, root: Path, run_id: str) -> Iterator[None]:
    """A run that this process writes: finished at the end, or failed where that is by an error.

    Where the tracking server is away nothing can be said there; whoever comes next says it.
    """
    try:
        yield
    except BaseException as error:
        uri = find_tracking_uri(root)
        if not uri.startswith("http") or find_silence(uri) is None:
            with suppress(Exception):  # the error that it is told for is the one to be seen
                status = "FAILED" if isinstance(error, Exception) else "KILLED"
                client.set_terminated(run_id, status)
        raise
    client.set_terminated(run_id, "FINISHED")


@task(name="end abandoned")
def end_abandoned(root: Path) -> list[str]:
    """End the flow runs and the MLflow runs whose process has gone without saying so; their ids."""
    crashed = crash_gone(root)
    marks = list_running(root)
    asked = {tags[FLOW_RUN] for tags in marks.values() if FLOW_RUN in tags}
    ended: set[str] = set()
    if asked:
        with get_client(sync_client=True) as client:
            ended = find_ended(client, asked)
    gone = end_gone(root, marks, ended)
    for run_id in gone:
        get_run_logger().info("the MLflow run %s is ended: its process has gone", run_id)
    return [*crashed, *gone]


def crash_gone(root: Path) -> list[str]:
    """Mark the flow runs as crashed whose process on this machine was killed; their ids.

    Prefect's runner does so for those that it started, and a command is nobody's to watch over.
    """
    from prefect.exceptions import ObjectNotFound
    from prefect.states import Crashed

    crashed: list[str] = []
    if not (notes := list_gone(root)):
        return crashed
    with get_client(sync_client=True) as client:
        for note in notes:
            with suppress(ObjectNotFound, ValueError):  # another server's, or no flow run's
                run = client.read_flow_run(UUID(note.name))
                if run.state is None or not run.state.is_final():
                    client.set_flow_run_state(run.id, Crashed(message=ORPHANED), force=True)
                    crashed.append(note.name)
            note.unlink(missing_ok=True)
    return crashed


def end_gone(root: Path, marks: Marks, ended: Collection[str] = ()) -> list[str]:
    """End those of some runs whose process has gone, or elsewhere whose flow run has ended."""
    gone = [run_id for run_id, tags in marks.items() if has_ended(tags, ended)]
    if gone:
        registry = connect(root)
        for run_id in gone:
            registry.set_terminated(run_id, "KILLED")
    return gone


def list_running(root: Path) -> Marks:
    """The tags of the MLflow runs that are under way, of this project's pipelines and others'."""
    marks: Marks = {}
    if (found := ask_questions(root, [(_QUESTION, (PROCESS, FLOW_RUN))])) is not None:
        for run_id, key, value in found[0]:
            marks.setdefault(run_id, {})[key] = value
        return marks
    registry = connect(root)
    asked = [one.experiment_id for one in read_pages(registry.search_experiments)]
    for start in range(0, len(asked), PAGE):
        wanted = {"filter_string": "attributes.status = 'RUNNING'"}
        part = asked[start : start + PAGE]
        for run in read_pages(registry.search_runs, experiment_ids=part, **wanted):
            tags = {key: run.data.tags[key] for key in (PROCESS, FLOW_RUN) if key in run.data.tags}
            if tags:
                marks[run.info.run_id] = tags
    return marks
