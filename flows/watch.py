"""The watching flow: what the repository and the registry say is due, is started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow

from finetuning.locks import hold
from finetuning.pipelines import find_root
from tasks.abandoned_runs import end_abandoned
from tasks.planning import STATE
from tasks.watching import follow, release_changed, rerun_changed


@flow(name="watch", flow_run_name="watch", validate_parameters=True)
def watch(branch: str | None = None, root: Path | None = None) -> dict[str, Any]:
    """Start what is due: runs on changed data, and releases of new champions. End what was left.

    Args:
        branch: REMOTE/BRANCH that the checkout follows, such as origin/main; null leaves it.
        root: The project's folder; null looks upwards from the working folder.
    """
    root = root or find_root(Path.cwd())
    with hold(root / STATE / "locks" / "watch"):
        moved = follow(root, branch)
        return {
            "commit": moved,
            "data": rerun_changed(root),
            "releases": release_changed(root),
            "ended": end_abandoned(root),
        }
