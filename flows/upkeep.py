"""What is put in order on Prefect's server before pipelines are served from this machine."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from tasks.devices import DEVICES, name_device
from tasks.runs import LARGEST_PAGE, ORPHANED

if TYPE_CHECKING:
    from uuid import UUID


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
                print(f"crashed: {run.name}, whose process has gone", file=sys.stderr)


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
        page = partial(
            client.read_flow_runs,
            flow_run_filter=late,
            sort=FlowRunSort.START_TIME_ASC,
            limit=LARGEST_PAGE,
        )
        while runs := await page():
            for run in runs:
                await client.delete_flow_run(run.id)
