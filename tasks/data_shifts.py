"""What changed in the data since the newest model: told by the run, and kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from finetuning.data_changes import compare_data, tabulate
from finetuning.digests import digest_code, digest_value
from finetuning.errors import InputError
from tasks.announcing import make_key
from tasks.recorded_rows import find_rows, shape_rows
from tasks.registry import TAG, connect, fetch_json, list_versions
from tasks.snapshot import read_rows
from tasks.stages import fetch

if TYPE_CHECKING:
    import pandas

    from tasks.planning import Work

CHANGE = "data_change.json"
STAGE = "change"  # where the store keeps a comparison, which two tasks of a run ask for


@task(name="compare data")
def tell_change(work: Work) -> None:
    """Show in the Prefect UI what changed in the data since the newest model, if anything did."""
    change = find_change(work)
    if change is None:
        return
    said = "\n".join([describe_change(change)[0], *(f"- {one}" for one in change["words"])])
    get_run_logger().info("the data: %s", "; ".join(describe_change(change)[:2]))
    key = make_key(work.pipeline.name, "data-change")
    if change["shifts"]:
        create_table_artifact(table=tabulate(change), key=key, description=said)
    else:
        create_markdown_artifact(markdown=said, key=key, description="What changed in the data")


def describe_change(change: Mapping[str, Any]) -> list[str]:
    """The change in lines for people: against what, how many rows, the verdict, then the rest."""
    since = f"since version {change['model_version']}, data {change['from']} -> {change['to']}"
    return [since, *change["words"]]


def find_change(work: Work) -> dict[str, Any] | None:
    """How the run's rows differ from those of the newest model that it did not make itself.

    Returns:
        `model_version`, `from`, `to` and what `compare_data` gives; `rows` is None and `words` say
        why where the rows cannot be compared. None where there is no such model, or it was made
        from the same data.
    """
    try:
        newest = _find_newest(work)
        then = None if newest is None else newest.tags.get(f"{TAG}.data_version")
        if newest is None or then == work.data.version:
            return None
        found = {"model_version": str(newest.version), "from": then, "to": work.data.version}
    except Exception as error:
        # The run goes on without the comparison, whatever stood in its way; who registers the
        # model says it better where the registry does not answer.
        get_run_logger().warning("the data was not compared: %s", _shorten(error))
        return None
    try:
        return found | _compare(work, newest)
    except InputError:
        reason = (
            f"the rows of version {newest.version} are kept neither in the store nor in DVC's "
            f"cache; `tunesmith diff {work.pipeline.name}` asks DVC's remote, too"
        )
    except Exception as error:  # likewise: a record of another time, a damaged file, a full disk
        reason = _shorten(error)
    get_run_logger().warning("the data was not compared: %s", reason)
    words = [f"what changed in the rows cannot be said: {reason}"]
    nothing: dict[str, Any] = {"rows": None, "shifts": [], "vocabulary": None, "verdict": None}
    return found | nothing | {"words": words}


def _find_newest(work: Work) -> Any | None:
    client, own = connect(work.root), work.plans["register"].key
    versions = [
        version
        for version in list_versions(client, work.pipeline.name)
        if version.tags.get(f"{TAG}.digest") != own
    ]
    return max(versions, key=lambda version: int(version.version), default=None)


def _compare(work: Work, newest: Any) -> dict[str, Any]:
    from finetuning.config import Data

    record = fetch_json(connect(work.root), str(newest.run_id), "lineage.json")
    components = {
        "before": [record["run_id"], record["row_digests"], record["config"]["data"]],
        "after": [work.plans["snapshot"].key, work.pipeline.data.model_dump(mode="json")],
        "code": digest_code("tasks.data_shifts"),
        "libraries": {name: metadata.version(name) for name in ("pandas", "scipy")},
    }
    key = digest_value(components)

    def make(_: Path) -> dict[str, Any]:
        data, kind = Data.model_validate(record["config"]["data"]), record["config"]["problem"]
        rows, why = find_rows(work.root, record, data, fetch=False)
        found = compare_data(shape_rows(rows, data, kind), _shape_present(work))
        return found | {"words": [*found["words"], *([why] if why else [])]}

    entry = work.store.find(STAGE, key) or work.store.keep(STAGE, key, make, components)
    return entry.facts


def _shape_present(work: Work) -> pandas.DataFrame:
    rows = read_rows(fetch(work, "snapshot").folder)
    return shape_rows(rows, work.pipeline.data, work.pipeline.problem)


def _shorten(error: Exception) -> str:
    lines = str(error).splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:200]}"
