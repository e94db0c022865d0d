"""The process that serves every pipeline as a deployment, and takes up files as they change.

    python -m flows.deployments

`tunesmith up` starts it once the servers answer.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import InputError
from finetuning.pipelines import find_pipeline, list_pipelines, load_pipeline
from finetuning.schedules import Interval
from flows.environment import prepare_environment
from flows.forms import make_form
from flows.webhooks import SERVER, listen, subscribe
from tasks.devices import DEVICES, name_device
from tasks.runs import LARGEST_PAGE

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow
    from prefect.runner import Runner

    from finetuning.config import Pipeline

LOOKING = 2.0  # seconds between two looks at the pipelines' files
POLLING = 1  # seconds between two questions for runs that are due
WATCHING = 60  # seconds between two runs of watch
CHANGED = "tunesmith.data.changed"  # the event that makes watch run at once
TAG = "tunesmith"
ORPHANED = "Its process has gone: the same run again goes on from what is kept."
# What is not set is left as it is: these are the user's, set in the UI.
THEIRS = ("schedules", "paused", "parameters", "concurrency_limit", "concurrency_options")


async def serve_pipelines(root: Path) -> None:
    """Serve every pipeline file as a deployment; new and edited files are taken up as they come."""
    from prefect.runner import Runner

    # A schedule that someone set in the UI is theirs: it is not paused when this process ends.
    runner = Runner(name="tunesmith", pause_on_shutdown=False, limit=None, query_seconds=POLLING)
    known: dict[str, float] = {}
    await limit_device()
    await crash_orphans()
    await deploy_changed(root, runner, known)
    await deploy_others(runner)
    threading.Thread(target=hear_mlflow, args=(root,), daemon=True).start()

    async def look() -> None:
        parent = os.getppid()
        while os.getppid() == parent:
            await asyncio.sleep(LOOKING)
            await deploy_changed(root, runner, known)
        os.kill(os.getpid(), signal.SIGTERM)  # nobody watches over this process any more

    looking = asyncio.create_task(look())
    try:
        await runner.start()
    finally:
        looking.cancel()


async def limit_device() -> None:
    """Let one training at a time use this machine's device; a limit that was set stays."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectNotFound

    async with get_client() as client:
        try:
            await client.read_global_concurrency_limit_by_name(name_device())
        except ObjectNotFound:
            limit = GlobalConcurrencyLimitCreate(name=name_device(), limit=DEVICES)
            await client.create_global_concurrency_limit(limit)


async def crash_orphans() -> None:
    """Mark the runs of deployments as crashed that seem to be under way: nobody runs them any more.

    `tunesmith up` has seen to it that what an earlier serving process started has ended.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.states import Crashed

    under_way = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
    wanted = FlowRunFilter(
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=under_way)),
        deployment_id=FlowRunFilterDeploymentId(is_null_=False),
    )
    async with get_client() as client:
        page = partial(
            client.read_flow_runs,
            flow_run_filter=wanted,
            sort=FlowRunSort.START_TIME_ASC,
            limit=LARGEST_PAGE,
        )
        while runs := await page():
            for run in runs:
                await client.set_flow_run_state(run.id, Crashed(message=ORPHANED), force=True)
                tell(f"crashed: {run.name}, whose process has gone")


async def deploy_changed(root: Path, runner: Runner, known: dict[str, float]) -> None:
    """Register the deployments of pipeline files that are new or edited since they were `known`."""
    from flows.finetune import finetune

    for name in list_pipelines(root):
        try:
            path = find_pipeline(root, name)
            if known.get(name) == (modified := path.stat().st_mtime):
                continue
            known[name] = modified
            pipeline = load_pipeline(path)
        except (InputError, OSError) as error:
            tell(f"{name} is not served: {error}")
            continue
        described = f"{pipeline.problem}: {pipeline.model.base} on {pipeline.data.path}"
        await deploy(
            runner,
            finetune,
            name,
            {"pipeline": name},
            [TAG, pipeline.problem],
            described,
            read_schedule(pipeline),
            form_of=pipeline,
        )
        tell(f"served: finetune/{name}")


async def deploy_others(runner: Runner) -> None:
    """Register the flows that are not one pipeline's."""
    from prefect.events import DeploymentEventTrigger

    from flows.compare import compare
    from flows.predict import predict
    from flows.release import release
    from flows.watch import watch

    trigger = DeploymentEventTrigger(enabled=True, expect={CHANGED}, name=f"{CHANGED} -> watch")
    every = {"interval": timedelta(seconds=WATCHING)}
    said = "Starts pipelines whose data changed, and the release of new champions."
    await drop_late(await deploy(runner, watch, "watch", {}, [TAG], said, every, [trigger]))
    said = "Proves a new champion, hands it on, or puts the one before back."
    await deploy(runner, release, "release", {}, [TAG], said)
    said = "Several strategies side by side on the same data, and which one it deserves."
    await deploy(runner, compare, "compare", {}, [TAG], said)
    said = "Scores a table or a folder of images with a registered model."
    await deploy(runner, predict, "predict", {}, [TAG], said)


async def drop_late(deployment: UUID) -> None:
    """Drop the runs of a deployment that were due while nobody served it; the next one does it all.

    Args:
        deployment: Its id. It says what is, so that nothing is lost with a run.
    """
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterDeploymentId,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort
    from prefect.types._datetime import now

    late = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        # Typed as a class of its own, which a datetime passes for.
        expected_start_time=FlowRunFilterExpectedStartTime(before_=now("UTC")),  # type: ignore[arg-type]
    )
    async with get_client() as client:
        for run in await client.read_flow_runs(
            flow_run_filter=late, sort=FlowRunSort.START_TIME_ASC, limit=LARGEST_PAGE
        ):
            await client.delete_flow_run(run.id)


async def deploy(
    runner: Runner,
    flow: Flow[..., Any],
    name: str,
    parameters: dict[str, Any],
    tags: list[str],
    description: str,
    schedule: dict[str, Any] | None = None,
    triggers: list[Any] | None = None,
    form_of: Pipeline | None = None,
) -> UUID:
    """Register a deployment; one that is there keeps what somebody set in the UI.

    Args:
        runner: Runs what is due.
        flow: What runs.
        name: The deployment's name.
        parameters: Those of a run that nobody filled in a form for.
        tags: For the UI.
        description: For the UI.
        schedule: Its first schedule, as Prefect's `to_deployment` takes it.
        triggers: Events that make it run.
        form_of: The pipeline whose values its form begins with; None takes the flow's own.

    Returns:
        The deployment's id.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound
    from prefect.types.entrypoint import EntrypointType

    async with get_client() as client:
        try:
            await client.read_deployment_by_name(f"{flow.name}/{name}")
            is_new = False
        except ObjectNotFound:
            is_new = True
    deployment = await flow.ato_deployment(
        name,
        parameters=parameters,
        tags=tags,
        description=description,
        triggers=triggers,
        entrypoint_type=EntrypointType.MODULE_PATH,
        **(schedule or {} if is_new else {}),
    )
    own = deployment._parameter_openapi_schema
    form = make_form(own.model_dump(), form_of)
    deployment._parameter_openapi_schema = type(own).model_validate(form)
    if not is_new:
        deployment.model_fields_set.difference_update(THEIRS)
    return await runner.aadd_deployment(deployment)


def hear_mlflow(root: Path) -> None:
    """Have the server of `tunesmith up` tell us of new champions, and start their release."""
    from mlflow.exceptions import MlflowException

    from tasks.watching import start_release

    def act(name: str) -> None:
        try:
            tell(f"{name}: {start_release(root, name)}")
        except Exception as error:  # whatever it is, watch comes by within a minute
            said = (str(error).splitlines() or [""])[0]
            tell(f"{name}: its release could not be started ({type(error).__name__}: {said})")

    if (server := os.environ.get(SERVER)) is None:
        return
    ear = listen(root, act)
    try:
        subscribe(root, server, ear.server_address[1])
    except (MlflowException, OSError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        tell(f"MLflow sends no webhooks ({said}): watch finds new champions within a minute")


def read_schedule(pipeline: Pipeline) -> dict[str, Any] | None:
    """The pipeline file's schedule, as Prefect's `to_deployment` takes it."""
    if pipeline.schedule is None:
        return None
    if isinstance(pipeline.schedule, Interval):
        return {"interval": timedelta(seconds=pipeline.schedule.every)}
    return {"cron": pipeline.schedule}


def tell(text: str) -> None:
    """Tell whoever watches."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    prepare_environment(Path.cwd())
    asyncio.run(serve_pipelines(Path.cwd()))
