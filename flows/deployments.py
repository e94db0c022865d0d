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
from flows.upkeep import crash_orphans, drop_late, limit_device
from flows.warm_starts import fork_runs
from flows.webhooks import SERVER, listen, subscribe
from tasks.wakes import answer_wakes

if TYPE_CHECKING:
    from uuid import UUID

    from prefect import Flow
    from prefect.runner import Runner

    from finetuning.config import Pipeline

LOOKING = 2.0  # seconds between two looks at the pipelines' files
AT_ONCE = 2  # runs that compute; the others wait, without a process that fills the memory
POLLING = 0.5  # seconds between two questions for runs that are due; see also `tasks.wakes`
WATCHING = 60  # seconds between two runs of watch
TAG = "tunesmith"
# What is not set is left as it is: these are the user's, set in the UI.
THEIRS = ("schedules", "paused", "parameters", "concurrency_limit", "concurrency_options")


async def serve_pipelines(root: Path) -> None:
    """Serve every pipeline file as a deployment; new and edited files are taken up as they come."""
    from prefect.runner import Runner

    # A schedule that someone set in the UI is theirs: it is not paused when this process ends.
    begin = partial(Runner, pause_on_shutdown=False, query_seconds=POLLING)
    # Whoever watches over the others never waits behind them.
    quick, runner = begin(name="tunesmith-watch"), begin(name="tunesmith", limit=AT_ONCE)
    known: dict[str, float] = {}
    await limit_device()
    await crash_orphans()
    await deploy_others(quick, runner)
    fork_runs()
    threading.Thread(target=hear_mlflow, args=(root,), daemon=True).start()

    async def look() -> None:
        parent = os.getppid()
        while os.getppid() == parent:
            try:
                await deploy_changed(root, runner, known)
            except Exception as error:  # whatever it is, the next look asks again
                said = (str(error).splitlines() or [""])[0]
                tell(f"pipelines wait to be served ({type(error).__name__}: {said})")
            await asyncio.sleep(LOOKING)
        os.kill(os.getpid(), signal.SIGTERM)  # nobody watches over this process any more

    async def ask() -> None:
        for one in (quick, runner):
            await one._get_and_submit_flow_runs()  # type: ignore[no-untyped-call]

    besides = [asyncio.create_task(look()), asyncio.create_task(answer_wakes(root, ask))]
    try:
        await asyncio.gather(quick.start(), runner.start())
    finally:
        for one in besides:
            one.cancel()


async def deploy_changed(root: Path, runner: Runner, known: dict[str, float]) -> None:
    """Register the deployments of pipeline files that are new or edited since they were `known`."""
    waiting = find_changed(root, known)
    if not waiting:
        return
    from prefect.context import AsyncClientContext

    from flows.finetune import finetune

    try:
        # One client for all of them: to make one takes longer than what it is asked.
        async with AsyncClientContext.get_or_create():
            for name, pipeline in list(waiting.items()):
                await deploy(
                    runner,
                    finetune,
                    name,
                    {"pipeline": name},
                    [TAG, pipeline.problem],
                    f"{pipeline.problem}: {pipeline.model.base} on {pipeline.data.path}",
                    read_schedule(pipeline),
                    form_of=pipeline,
                )
                del waiting[name]
                tell(f"served: finetune/{name}")
    finally:
        for name in waiting:  # the server did not take it: the next look tries again
            del known[name]


def find_changed(root: Path, known: dict[str, float]) -> dict[str, Pipeline]:
    """The pipelines whose files are new or edited; that they were seen is noted in `known`."""
    changed = {}
    for name in list_pipelines(root):
        try:
            path = find_pipeline(root, name)
            if known.get(name) == (modified := path.stat().st_mtime):
                continue
            known[name] = modified
            changed[name] = load_pipeline(path)
        except (InputError, OSError) as error:
            tell(f"{name} is not served: {error}")
    return changed


async def deploy_others(quick: Runner, runner: Runner) -> None:
    """Register the flows that are not one pipeline's.

    Args:
        quick: Runs what must not wait.
        runner: Runs the rest.
    """
    from flows.compare import compare
    from flows.predict import predict
    from flows.release import release
    from flows.watch import watch

    every = {"interval": timedelta(seconds=WATCHING)}
    said = "Starts pipelines whose data changed, and the release of new champions."
    await drop_late(await deploy(quick, watch, "watch", {}, [TAG], said, every))
    said = "Proves a new champion, hands it on, or puts the one before back."
    await deploy(quick, release, "release", {}, [TAG], said)
    said = "Several strategies side by side on the same data, and which one it deserves."
    await deploy(runner, compare, "compare", {}, [TAG], said)
    said = "Scores a table or a folder of images with a registered model."
    await deploy(runner, predict, "predict", {}, [TAG], said)


async def deploy(
    runner: Runner,
    flow: Flow[..., Any],
    name: str,
    parameters: dict[str, Any],
    tags: list[str],
    description: str,
    schedule: dict[str, Any] | None = None,
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
