"""The tags of a model version: what it was made from, and what the gate said of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tasks.registry import TAG, find_registered
from tasks.verdicts import VERDICT

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from finetuning.lineage import Lineage

# What of the verdict stands in the version's own tags.
JUDGEMENT = (
    "metric", "value", "difference", "interval", "p_value", "policy", "champion", "judged_before",
    "rows", "rows_digest",
)  # fmt: skip


def tag_verdict(client: MlflowClient, name: str, digest: str, verdict: dict[str, Any]) -> None:
    """Bring the verdict on a version up to date that was registered before and is judged again."""
    registered = find_registered(client, name, digest)
    if registered is not None:
        for key, value in summarize_verdict(verdict).items():
            client.set_model_version_tag(name, registered.version, key, value)


def summarize_verdict(verdict: dict[str, Any]) -> dict[str, str]:
    """The tags of a model version that tell the gate's verdict on it."""
    return {
        VERDICT: "passed" if verdict["promote"] else "refused",
        f"{TAG}.judgement": json.dumps({key: verdict[key] for key in JUDGEMENT}),
    }


def make_tags(digest: str, lineage: Lineage) -> dict[str, str]:
    """The tags of a model version."""
    tags = {
        "digest": digest,
        "data_version": lineage.data_version,
        "git_commit": lineage.commit.sha or "none",
        "code_digest": lineage.code_digest,
        "config_digest": lineage.config_digest,
        "base_model": lineage.base_model,
        "flow_run_id": lineage.flow_run_id or "none",
    }
    named = {f"{TAG}.{key}": value for key, value in tags.items()}
    return named | summarize_verdict(lineage.verdict)
