"""`tunesmith run`: the flow, or at once the answer that nothing changed."""

from __future__ import annotations

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from finetuning.errors import RefusedError
from finetuning.failures import explain, recognise
from finetuning.leads import describe_defeat
from finetuning.roles import METRICS
from flows.environment import leave_failures_to_answer, prepare_environment
from flows.preparation import check_tables, hold_pipeline, need_work, prepare_work
from tasks.planning import STAGES
from tasks.registered_files import REPORT, is_current
from tasks.registry import CHAMPION, connect


def run_pipeline(root: Path, name: str, overrides: Sequence[str], quiet: bool) -> dict[str, Any]:
    """Run a pipeline, or find that its newest model is what a run would give.

    Args:
        root: The project's folder.
        name: Pipeline name or file.
        overrides: KEY=VALUE items.
        quiet: No progress bars, and of the logs only warnings.

    Raises:
        InputError: The input is wrong.
        ValidationError: The data failed validation.
        RefusedError: The gate refused the model.
    """
    started = time.monotonic()
    prepare_environment(root, quiet)
    result = recall_result(root, name, overrides)
    if result is None:
        with hold_pipeline(root, name, overrides):
            # Whoever held it may just have made what is asked for.
            result = recall_result(root, name, overrides) or start(root, name, overrides)
    result |= {"seconds": round(time.monotonic() - started, 3)}
    if not result["gate"]["promote"]:
        raise RefusedError("; ".join(result["gate"]["reasons"]), result)
    return result


def start(root: Path, name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Run the flow, after what is wrong with the input has been said."""
    work = need_work(root, name, overrides)
    check_tables(work)
    from flows.server import reach_server, reach_tracking
    from tasks.promotion import check_champion

    with reach_server(root) as ready:
        reach_tracking(root)
        # Before anything is trained that could not be judged.
        check_champion(connect(root), work.pipeline.name)
        from flows.finetune import finetune

        leave_failures_to_answer()
        warm_up(ready)
    try:
        return finetune(pipeline=name, overrides=list(overrides), root=root)
    except Exception as error:
        found = recognise(error)
        # What is kept now was made by this run: before it, there was nothing to recall.
        kept = recall_result(root, name, overrides) if found and found[0].passing else None
        if kept is None:
            raise
        return finish(kept, str(explain(error)))


def finish(kept: dict[str, Any], reason: str) -> dict[str, Any]:
    """The result of a run that ended with a verdict, and could not tell Prefect's server so."""
    said = f"the run is done, and Prefect's server could not be told: {reason}"
    print(f"tunesmith: {said}", file=sys.stderr)
    stage = {"status": "kept", "seconds": 0.0, "why": "Prefect's server was away at the end"}
    passed = "promoted" if kept["alias"] == CHAMPION else "registered"
    status = passed if kept["gate"]["promote"] else "refused"
    return kept | {"status": status, "stages": dict.fromkeys(STAGES, stage)}


def warm_up(ready: Callable[[], bool]) -> None:
    """Import what the stages need, for as long as Prefect's server is not ready."""
    for name in ("great_expectations", "sklearn.linear_model", "scipy.stats", "mlflow.pyfunc"):
        if ready():
            return
        with suppress(ImportError):  # the stage that needs it says so better
            importlib.import_module(name)


def recall_result(root: Path, name: str, overrides: Sequence[str]) -> dict[str, Any] | None:
    """The result of the run that this one would repeat, where its model is still registered."""
    work = prepare_work(root, name, overrides, fetch=False)
    if work is None:
        return None
    entry = work.store.find("register", work.plans["register"].key, verify=False)
    if entry is None:
        return None
    facts = entry.facts
    passed = facts["gate"]["promote"]
    if not is_current(work.root, work.pipeline.name, facts):
        return None
    same = {"status": "cached", "seconds": 0.0, "why": "nothing changed"}
    return {
        "status": "unchanged" if passed else "refused",
        "pipeline": work.pipeline.name,
        **facts,
        "report": str(entry.folder / REPORT),
        "stages": dict.fromkeys(STAGES, same),
    }


def describe_result(result: dict[str, Any]) -> str:
    """The end of the output: the model, its score against its baselines, and where to look."""
    metrics, gate = result["metrics"], result["gate"]
    name, version = result["pipeline"], result["model_version"]
    waiting = "waiting as challenger" if result["alias"] else "not offered: it was rolled back"
    heads = {
        "registered": f"{name}: version {version} registered, {waiting}",
        "promoted": f"{name}: version {version} registered and promoted to {result['alias']}",
        "unchanged": f"{name}: nothing changed, version {version} is up to date",
        "refused": f"{name}: the gate refused this model; nothing was registered",
    }
    lines, metric = [heads[result["status"]]], METRICS[result["problem"]][0]
    value = metrics[f"test/{metric}"]
    if defeat := describe_defeat(result["baselines"], metric, value):
        lines.append(f"  warning: {defeat}")
    lines += [f"  {reason}" for reason in gate["reasons"]]
    wide = max([44, *(len(baseline["description"]) for baseline in result["baselines"])])
    lines.append(f"  {'this model':<{wide}} {metric} {value:.4f}")
    for baseline in result["baselines"]:
        low, high = baseline["interval"]
        lead = f"lead {baseline['difference']:+.4f} ({low:+.4f} to {high:+.4f})"
        score = baseline["scores"][metric]
        lines.append(f"  {baseline['description']:<{wide}} {metric} {score:.4f}  {lead}")
    if result["model_uri"]:
        lines.append(f"  load it: mlflow.pyfunc.load_model({result['model_uri']!r})")
    lines += [f"  not reproducible: {reason}" for reason in result.get("not_reproducible", ())]
    lines.append(f"  report:  {result['report']}")
    lines.append("  look:    tunesmith up   (Prefect on port 4200, MLflow on port 5000)")
    lines.append(f"  took {result['seconds']:.1f} s")
    return "\n".join(lines)
