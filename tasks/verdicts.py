"""The gate's verdict on a registered version, and what it forbids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from finetuning.errors import RefusedError
from tasks.champions import WITHDRAWN
from tasks.registry import TAG, fetch_json

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERDICT = f"{TAG}.verdict"
JUDGEMENT = f"{TAG}.judgement"
VERDICT_FILE = "verdict.json"
# What the history keeps of a verdict; the whole stays with the version's run.
KEPT = (
    "promote", "metric", "value", "minimum", "champion", "difference", "interval", "p_value",
    "reasons",
)  # fmt: skip


def read_verdict(client: MlflowClient, version: Any) -> dict[str, Any] | None:
    """The gate's verdict on a version: its run's verdict.json, else what its tag says.

    Where the two differ, the version counts as refused.
    """
    tag = version.tags.get(VERDICT, "")
    told = {"passed": True, "refused": False}.get(tag)
    verdict = _fetch_verdict(client, version.run_id) if version.run_id else None
    if verdict is None:
        return None if told is None else _recall_judgement(version, told)
    return verdict | {"promote": verdict.get("promote") is True and told is not False}


def _recall_judgement(version: Any, told: bool) -> dict[str, Any] | None:
    """What the version's tags tell of a verdict whose file is gone; None where that is too little.

    Without the champion that it was held against, a verdict that passed allows nothing.
    """
    try:
        judgement = json.loads(version.tags[JUDGEMENT])
    except (KeyError, ValueError):
        judgement = {}
    if told and "champion" not in judgement:
        return None
    return {**judgement, "promote": told, "reasons": [f"{VERDICT}: {version.tags[VERDICT]}"]}


def _fetch_verdict(client: MlflowClient, run_id: str) -> dict[str, Any] | None:
    from mlflow.exceptions import MlflowException

    try:
        files = [file.path for file in client.list_artifacts(run_id)]
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
    if VERDICT_FILE not in files:
        return None
    try:
        verdict = fetch_json(client, run_id, VERDICT_FILE)
    except ValueError:
        verdict = None
    return verdict if isinstance(verdict, dict) else {"reasons": [f"{VERDICT_FILE} is damaged"]}


def list_refusals(version: Any, verdict: dict[str, Any] | None, champion: str | None) -> list[str]:
    """Why a version may not become champion by itself; empty where it may."""
    refusals = []
    if when := version.tags.get(WITHDRAWN):
        refusals.append(f"it was rolled back on {when}")
    if verdict is None:
        return [*refusals, "it has no verdict of the gate"]
    if not verdict["promote"]:
        reasons = "; ".join(map(str, verdict.get("reasons") or ["no reason is recorded"]))
        refusals.append(f"its verdict refused it: {reasons}")
    if "champion" in verdict:
        held = verdict["champion"]
        held = held.get("model_version") if isinstance(held, dict) else held
        if (None if held is None else str(held)) != champion:
            refusals.append(
                f"its verdict is out of date: held against {name_champion(held)}, "
                f"while now there is {name_champion(champion)}"
            )
    return refusals


def name_champion(version: object) -> str:
    """A champion in words."""
    return "no champion" if version is None else f"champion version {version}"


def refuse(name: str, number: str, refusals: list[str], champion: str | None) -> RefusedError:
    """The refusal with its remedies."""
    remedy = f'judge it anew: tunesmith run {name}, or set this aside: --override "reason"'
    result = {
        "status": "refused",
        "model": name,
        "model_version": number,
        "champion": champion,
        "reasons": refusals,
        "remedy": remedy,
    }
    return RefusedError(f"{name}/{number} is not promoted: {'; '.join(refusals)}", result)


def shorten(verdict: dict[str, Any]) -> dict[str, Any]:
    """What the history keeps of a verdict."""
    return {key: verdict[key] for key in KEPT if key in verdict}
