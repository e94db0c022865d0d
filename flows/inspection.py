"""`tunesmith status` and `tunesmith lineage`: what is registered, and what it was made from."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.errors import Fault, InputError, TunesmithError, wrong
from finetuning.pipelines import find_pipeline, flatten, list_pipelines, load_pipeline
from finetuning.roles import METRICS
from flows.environment import prepare_environment
from tasks.base_models import resolve_base
from tasks.explanations import explain
from tasks.planning import find_definitions, plan, recall
from tasks.recording import explain_missing
from tasks.registered_files import is_current
from tasks.registered_models import TESTED
from tasks.registry import (
    SQLITE,
    TAG,
    VERSIONS,
    connect_quietly,
    explain_silence,
    fetch_json,
    find_tracking_uri,
    find_version,
    list_versions,
    reach,
)
from tasks.versioning import locate, resolve

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.planning import Work

# The leading metric of every problem, by which its versions are shown.
SCORES = tuple(dict.fromkeys(f"{TESTED}{names[0]}" for names in METRICS.values()))
SHORT = 12  # characters of a module's digest that people are shown
TOLD = ("critical_failures", "warnings", "report")  # of a validation


@dataclass
class Version:
    """What the registry knows of one model version."""

    number: int
    made: str
    run_id: str
    digest: str | None = None
    aliases: list[str] = field(default_factory=list)
    score: float | None = None  # by the leading metric of its problem
    metric: str | None = None


def read_status(root: Path) -> dict[str, Any]:
    """Every pipeline file: its newest model, and what has changed since that was made.

    A pipeline's `state` is one of: up to date, data changed, changed (config, code, libraries or
    base model), refused (by the gate, and nothing changed since), never run, unknown, broken.
    """
    prepare_environment(root)
    names = list_pipelines(root)
    versions = read_versions(root, names)
    found = [describe_pipeline(root, name, versions.get(name, [])) for name in names]
    return {"status": "ok", "pipelines": found}


def describe_pipeline(root: Path, name: str, versions: list[Version]) -> dict[str, Any]:
    """One pipeline's line of the status; what is wrong with its file stays its own."""
    newest = max(versions, key=lambda version: version.number, default=None)
    found: dict[str, Any] = {
        "pipeline": name,
        "model_version": None if newest is None else str(newest.number),
        "aliases": {alias: str(one.number) for one in versions for alias in one.aliases},
        "score": None if newest is None else newest.score,
        "metric": None if newest is None else newest.metric,
        "made": None if newest is None else newest.made,
        "faults": [],
    }
    try:
        state, why = compare_work(root, name, versions)
    except (TunesmithError, OSError) as error:
        faults = [vars(fault) for fault in getattr(error, "faults", ())]
        return found | {"state": "broken", "why": str(error), "faults": faults}
    return found | {"state": state, "why": why}


def compare_work(root: Path, name: str, versions: list[Version]) -> tuple[str, str]:
    """Whether a run would make what is registered already, and in words why not."""
    path = find_pipeline(root, name)
    pipeline = load_pipeline(path)
    if pipeline.name != name:
        raise wrong("name", pipeline.name, f"The file is named {path.name}: give both one name.")
    # To look is not to fetch: data that is not here is not pulled.
    if not locate(root, pipeline.data.path).exists():
        return "unknown", f"{pipeline.data.path}: {explain_missing(root, pipeline.data.path)}"
    base = resolve_base(root, pipeline)
    if base is None:
        return "unknown", f"the base model {pipeline.model.base} is not at hand here"
    work = plan(root, pipeline, resolve(root, pipeline.data.path), base)
    key = work.plans["register"].key
    kept = work.store.find("register", key, verify=False)
    current = kept is None or is_current(root, name, kept.facts)
    if any(version.digest == key for version in versions):
        if current:
            return "up to date", "nothing changed"
        return "changed", "the champion is another one since, or files are gone: it is judged again"
    if kept is not None and current and not kept.facts["gate"]["promote"]:
        return "refused", "; ".join(kept.facts["gate"]["reasons"])
    newest = max(versions, key=lambda version: version.number, default=None)
    if newest is None:
        begun = bool(recall(root, name))
        return "never run", "no run of it got as far as a model" if begun else "first run"
    return name_change(work, newest)


def name_change(work: Work, newest: Version) -> tuple[str, str]:
    """What differs between a run now and the one that made a model version."""
    stages = recall_stages(work, newest.digest or "") or recall(work.root, work.pipeline.name)
    both = work.plans.keys() & stages.keys()
    now = merge({name: work.plans[name].components for name in both})
    before = merge({name: stages[name] for name in both})
    if now == before:
        return "changed", f"version {newest.number} was not made by a run that is known here"
    state = "changed" if now.get("data") == before.get("data") else "data changed"
    return state, explain(now, before, find_definitions(work.root))


def recall_stages(work: Work, digest: str) -> dict[str, Any]:
    """What each stage was made from in the run that had this digest, as the store keeps it."""
    stages: dict[str, Any] = {}
    waiting = {"register": digest}
    while waiting:
        stage, key = waiting.popitem()
        try:
            manifest = (work.store.root / stage / key / "manifest.json").read_text("utf-8")
            components = dict(json.loads(manifest)["components"])
            waiting = components["upstream"] | waiting  # only register names the snapshot's key
        except (OSError, ValueError, KeyError, TypeError):
            continue
        stages[stage] = components
    return stages if "snapshot" in stages else {}


def merge(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The components of all stages as those of one, so that each change is said once."""
    merged: dict[str, Any] = {}
    for kind in ("data", "config", "base model", "libraries", "code"):
        for components in stages.values():
            merged.setdefault(kind, {}).update(components.get(kind, {}))
    return merged


def read_versions(root: Path, names: list[str]) -> dict[str, list[Version]]:
    """Every registered version of the models with these names.

    A local database is asked directly: importing MLflow would take longer than all the rest.
    """
    uri = find_tracking_uri(root)
    if uri.startswith(SQLITE):
        path = Path(uri.removeprefix(SQLITE))
        if not path.is_file():
            return {}
        try:
            with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
                return _read_database(database)
        except (sqlite3.DatabaseError, KeyError):
            pass  # another version of MLflow keeps its tables otherwise: ask MLflow itself
    from mlflow.exceptions import MlflowException

    client = connect_quietly(root)
    try:
        return {name: _ask_registry(client, name) for name in names}
    except MlflowException as error:
        raise explain_silence(uri, error) from None


def _read_database(database: sqlite3.Connection) -> dict[str, list[Version]]:
    ask = database.execute
    places = ", ".join("?" * len(SCORES))
    query = f"select run_uuid, key, value from latest_metrics where key in ({places})"
    scores = {run: (value, key.removeprefix(TESTED)) for run, key, value in ask(query, SCORES)}
    found: dict[str, dict[int, Version]] = {}
    for name, number, made, run_id in ask(VERSIONS):
        score, metric = scores.get(run_id, (None, None))
        version = Version(number, _tell_time(made), run_id or "", score=score, metric=metric)
        found.setdefault(name, {})[number] = version
    query = "select name, version, alias from registered_model_aliases order by alias"
    for name, number, alias in ask(query):
        if known := found.get(name, {}).get(number):
            known.aliases.append(alias)
    query = "select name, version, value from model_version_tags where key = ?"
    for name, number, digest in ask(query, (f"{TAG}.digest",)):
        if known := found.get(name, {}).get(number):
            known.digest = digest
    return {name: list(versions.values()) for name, versions in found.items()}


def _ask_registry(client: MlflowClient, name: str) -> list[Version]:
    versions = {
        int(one.version): Version(
            int(one.version),
            _tell_time(one.creation_timestamp),
            str(one.run_id or ""),
            one.tags.get(f"{TAG}.digest"),
        )
        for one in list_versions(client, name)
    }
    if versions:
        for alias, number in sorted(client.get_registered_model(name).aliases.items()):
            versions[int(number)].aliases.append(alias)
        newest = versions[max(versions)]
        if newest.run_id:
            metrics = client.get_run(newest.run_id).data.metrics
            key = next((key for key in SCORES if key in metrics), None)
            if key is not None:
                newest.score, newest.metric = metrics[key], key.removeprefix(TESTED)
    return list(versions.values())


def _tell_time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="seconds")


def describe_status(result: dict[str, Any]) -> str:
    """The status as a table for people."""
    if not result["pipelines"]:
        return "There are no pipelines here yet. `tunesmith init NAME --data FILE` makes one."
    rows = [("PIPELINE", "VERSION", "SCORE", "MADE", "ALIASES", "STATE")]
    reasons: list[list[str]] = [[]]
    for one in result["pipelines"]:
        aliases = ", ".join(f"{alias}={number}" for alias, number in one["aliases"].items())
        score = "-" if one["score"] is None else f"{one['metric']} {one['score']:.4f}"
        made = (one["made"] or "-")[:16].replace("T", " ")
        version = one["model_version"] or "-"
        rows.append((one["pipeline"], version, score, made, aliases or "-", one["state"]))
        quiet = one["state"] in ("up to date", "never run")
        reasons.append([] if quiet else [f"    {line}" for line in one["why"].splitlines()])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row, why in zip(rows, reasons, strict=True):
        cells = (text.ljust(width) for text, width in zip(row, widths, strict=True))
        lines += ["  ".join(cells).rstrip(), *why]
    return "\n".join(lines)


def read_lineage(root: Path, reference: str) -> dict[str, Any]:
    """The record of what a version (NAME, NAME@ALIAS or NAME/VERSION) was made from."""
    prepare_environment(root)
    with reach(root, reference) as client:
        version = find_version(client, reference)
        version = client.get_model_version(version.name, version.version)
        return {
            **_fetch_record(client, version),
            "model_version": str(version.version),
            "aliases": sorted(version.aliases),
            "tags": dict(sorted(version.tags.items())),
        }


def _fetch_record(client: MlflowClient, version: Any) -> dict[str, Any]:
    from mlflow.exceptions import MlflowException

    reason = "its run wrote none"
    if version.run_id:
        try:
            record = fetch_json(client, version.run_id, "lineage.json")
            if isinstance(record, dict):
                return record
        except (MlflowException, OSError, ValueError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
    found = f"no record with run {version.run_id or '(none)'} ({reason})"
    remedy = f"Bring the artifacts of that run back, or run again: tunesmith run {version.name}"
    raise InputError([Fault(f"{version.name}/{version.version}, lineage.json", found, remedy)])


def describe_lineage(result: dict[str, Any]) -> str:
    """The record as aligned lines for people; the modules' digests stand whole in the JSON."""
    aliases = ", ".join(result["aliases"]) or "no alias"
    lines = [f"{result.get('pipeline', 'model')}, version {result['model_version']} ({aliases})"]
    left_out = ("pipeline", "model_version", "aliases", "code", "tags", "validation", "verdict")
    shown = {key: value for key, value in result.items() if key not in left_out}
    verdict, validation = result.get("verdict") or {}, result.get("validation") or {}
    decided = {None: "", True: "passed: ", False: "refused: "}[verdict.get("promote")]
    shown["verdict"] = decided + "; ".join(verdict.get("reasons", []))
    shown["validation"] = {key: validation.get(key) for key in TOLD}
    shown["code"] = {name: digest[:SHORT] for name, digest in (result.get("code") or {}).items()}
    flat = {key: value for key, value in flatten(shown).items() if value not in (None, "", [], {})}
    width = max(map(len, flat), default=0)
    for key, value in flat.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        lines.append(f"  {key:<{width}}  {text}")
    return "\n".join(lines)
