"""Flow runs of deployments, asked of Prefect's server: started once for one reason, and found."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from finetuning.digests import digest_value
from finetuning.reconciliation import Attempt, Ending

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

MARK = "change:"
# Errors that the same run would end with again; the first word of what Prefect says of a failure.
FINAL = ("InputError", "ValidationError", "RefusedError", "ReleaseError")
LARGEST_PAGE = 200  # runs that Prefect's server gives at once
ORPHANED = "Its process has gone: the same run again goes on from what is kept."
_PREFIX = "Flow run encountered an exception: "


def find_deployment(client: SyncPrefectClient, name: str) -> Any | None:
    """A deployment by FLOW/NAME, or None where nobody serves it."""
    from prefect.exceptions import ObjectNotFound

    try:
        return client.read_deployment_by_name(name)
    except ObjectNotFound:
        return None


def mark_change(*facts: str) -> str:
    """The tag that all runs for one reason have."""
    return MARK + digest_value(list(facts))[:32]


def list_attempts(client: SyncPrefectClient, tags: Collection[str]) -> dict[str, list[Attempt]]:
    """The runs that have each of some tags, in the order in which they were made.

    It is one question for all of them, however many pages of the server the answer fills.
    """
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterTags
    from prefect.client.schemas.sorting import FlowRunSort

    attempts: dict[str, list[Attempt]] = {tag: [] for tag in tags}
    asked = 0
    while tags:
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(tags=FlowRunFilterTags(any_=sorted(tags))),
            sort=FlowRunSort.EXPECTED_START_TIME_ASC,  # what is new comes last, on no page before
            limit=LARGEST_PAGE,
            offset=asked,
        )
        for run in runs:
            for tag in attempts.keys() & set(run.tags):
                attempts[tag].append(_tell(run))
        asked += len(runs)
        if len(runs) < LARGEST_PAGE:
            break
    return attempts


def find_ended(client: SyncPrefectClient, ids: Collection[str]) -> set[str]:
    """Those of some flow runs that have ended in whatever way."""
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    ended, wanted = set(), sorted(ids)
    for start in range(0, len(wanted), LARGEST_PAGE):
        part = [UUID(one) for one in wanted[start : start + LARGEST_PAGE]]
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=part)), limit=LARGEST_PAGE
        )
        ended |= {str(run.id) for run in runs if run.state is not None and run.state.is_final()}
    return ended


def _tell(run: FlowRun) -> Attempt:
    state = run.state
    kind = state.type.value if state is not None else "SCHEDULED"
    said = ((state.message if state is not None else None) or "").removeprefix(_PREFIX)
    ended = None if state is None or not state.is_final() else state.timestamp.timestamp()
    ending: Ending = "under way"
    if kind == "COMPLETED":
        ending, said = "done", ""
    elif kind == "CANCELLED":
        ending, said = "final", "somebody cancelled it"
    elif kind == "FAILED":
        ending = "final" if said.startswith(FINAL) else "failed"
    elif kind == "CRASHED":
        ending = "failed"
    return Attempt(ending, ended, " ".join(said.split())[:300])


def start_run(
    client: SyncPrefectClient,
    deployment: Any,
    parameters: Mapping[str, Any],
    tag: str,
    attempt: int = 1,
) -> str:
    """Start a run, once: the same tag and attempt name the same run, whoever asks.

    Returns:
        The flow run's id.
    """
    run = client.create_flow_run_from_deployment(
        deployment.id,
        parameters=dict(parameters),
        tags=[tag],
        idempotency_key=f"{tag}:{attempt}",
    )
    return str(run.id)
