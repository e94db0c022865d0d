"""Comparing: trials in processes of their own, each kept, and their record in MLflow."""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

from finetuning.comparison_page import describe_choice, describe_rates, render_comparison
from finetuning.comparisons import Trial, choose, find_crossing, summarise
from finetuning.digests import digest_value, write_atomically
from finetuning.errors import TunesmithError
from finetuning.measures import find_measure
from finetuning.roles import METRICS
from finetuning.trials import PREDICTIONS, report
from tasks.abandoned_runs import name_writer
from tasks.devices import occupy_device
from tasks.evaluation import EVALUATION, read_split
from tasks.planning import Work, describe_trial
from tasks.registry import TAG, connect, find_experiment
from tasks.repository import find_asker
from tasks.stages import fetch, stage

if TYPE_CHECKING:
    from finetuning.config import Pipeline
    from finetuning.store import Entry

PAGE, RESULT = "comparison.html", "comparison.json"
# What a trial would otherwise import within the time that it is measured by.
PRELOADED = ["finetuning.adaptation", "finetuning.trials", "transformers", "accelerate", "peft"]


@dataclass(frozen=True)
class Contender:
    """What a trial tries: a pipeline whose strategy and seed are the trial's, and a size.

    strategy: its name among the comparison's, see `finetuning.variants.name_variant`.
    """

    pipeline: Pipeline
    size: int
    strategy: str

    @property
    def name(self) -> str:
        """As it stands in logs and errors."""
        return f"{self.strategy} on {self.size} rows, seed {self.pipeline.training.seed}"


@dataclass(frozen=True)
class Tried:
    """What became of a trial: small, and all that passes between tasks."""

    trial: Trial
    key: str
    status: str  # ran | cached


@stage("trial")
def try_strategy(work: Work, contender: Contender) -> Tried:
    """Carry one trial out in a process of its own, or take what it left before."""
    components = describe_trial(work, contender.pipeline, contender.size)
    key = digest_value(components)
    entry = work.store.find("trial", key)
    status = "ran" if entry is None else "cached"
    if entry is None:
        with occupy_device():
            entry = work.store.keep("trial", key, partial(_isolate, work, contender), components)
    tried = Tried(_read_trial(contender, entry), key, status)
    get_run_logger().info("%s: %s, %.4f", contender.name, status, tried.trial.score)
    return tried


def _isolate(work: Work, contender: Contender, folder: Path) -> dict[str, Any]:
    """Run a trial in a fresh process, so that its peak memory is its own.

    The processes are forked from a server that has only imported libraries, where the system can.
    """
    methods = multiprocessing.get_all_start_methods()
    context: Any = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload(PRELOADED)
    encoded = fetch(work, "encode")
    facts = encoded.facts
    inputs = (
        work.base.folder, encoded.folder, tuple(facts["labels"]), facts["longest"],
        contender.pipeline, (contender.size, facts["rows"]["train"]),
        read_split(work, "validation"), folder,
    )  # fmt: skip
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report, args=(sender, *inputs), daemon=True)
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        said = "its process was ended from outside, perhaps for want of memory"
        raise TunesmithError(f"{contender.name}: {said}") from None
    finally:
        # Whoever interrupts the comparison does not wait for the trial.
        process.terminate()
        process.join()
    if isinstance(answer, FloatingPointError):
        raise TunesmithError(f"{contender.name}: {answer}")
    if isinstance(answer, Exception):
        raise answer
    return dict(answer)


def _read_trial(contender: Contender, entry: Entry) -> Trial:
    table = pandas.read_parquet(entry.folder / PREDICTIONS)
    score = find_measure(contender.pipeline.gate.metric).compute(table)
    facts = entry.facts
    figures = (facts["trained"], facts["seconds"], facts["memory"])
    seed = contender.pipeline.training.seed
    return Trial(contender.strategy, contender.size, seed, score, *figures)


@stage("judge trials")
def judge_trials(work: Work, tried: Sequence[Tried]) -> dict[str, Any]:
    """Which strategy the data deserves, from which size scratch would pay, and how sure that is."""
    trials = [one.trial for one in tried]
    largest = max(trial.size for trial in trials)
    tables = {
        (one.trial.strategy, one.trial.seed): pandas.read_parquet(
            work.store.root / "trial" / one.key / PREDICTIONS
        )
        for one in tried
        if one.trial.size == largest
    }
    metric, training = work.pipeline.gate.metric, work.pipeline.training
    choice, cells = choose(trials, tables, metric), summarise(trials)
    rows = fetch(work, "encode").facts["rows"]["validation"]
    return {
        "pipeline": work.pipeline.name,
        "data_version": work.data.version,
        "base_model": work.base.name,
        "metric": metric,
        "metrics": list(METRICS[work.pipeline.problem]),
        "sentence": describe_choice(choice, cells, metric),
        "choice": choice.to_json(),
        "scratch": find_crossing(cells, rows, metric).to_json(),
        "cells": [cell.to_json() for cell in cells],
        "trials": [asdict(one.trial) | {"status": one.status} for one in tried],
        "seeds": sorted({trial.seed for trial in trials}),
        "validation_rows": rows,
        "epochs": training.epochs,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "rates": describe_rates([cell.strategy for cell in cells], training.learning_rate),
    }


@stage("record comparison")
def record_comparison(
    work: Work, winner: Work, tried: Sequence[Tried], judged: dict[str, Any]
) -> dict[str, Any]:
    """Keep the page and the numbers, and log them as nested MLflow runs.

    Args:
        work: The comparison's work.
        winner: The work of the chosen strategy, evaluated on the test split.
        tried: All trials.
        judged: What `judge_trials` found.
    """
    evaluated = fetch(winner, "evaluate")
    details = json.loads((evaluated.folder / EVALUATION).read_text("utf-8"))
    folder = work.state / "comparisons" / work.pipeline.name
    result = judged | {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "flow_run_id": str(flow_run.get_id() or ""),
        "test": evaluated.facts["metrics"],
        "baselines": details["baselines"],
        "page": str(folder / PAGE),
    }
    # The statuses are left out: the same comparison goes on in the same run.
    digest = digest_value([[one.key for one in tried], winner.plans["evaluate"].key])
    result["run_id"] = _log(work, digest, tried, result)
    write_atomically(folder / RESULT, json.dumps(result, indent=1, ensure_ascii=False))
    write_atomically(folder / PAGE, render_comparison(result))
    client = connect(work.root)
    for name in (RESULT, PAGE):
        client.log_artifact(result["run_id"], str(folder / name))
    client.set_terminated(result["run_id"], "FINISHED")
    return result


def _log(work: Work, digest: str, tried: Sequence[Tried], result: dict[str, Any]) -> str:
    """The comparison's MLflow run, with one nested run a trial; those that are there stay."""
    from mlflow.entities import Metric, Param, RunTag

    client = connect(work.root)
    experiment = find_experiment(client, work.root, work.pipeline.name)
    user = {"mlflow.user": find_asker(work.root)}
    parent = _open_run(client, experiment, f"compare-{digest[:8]}", digest, user)
    moment = int(time.time() * 1000)
    names = {
        "score": f"validation/{result['metric']}",
        "trained": "trained_parameters",
        "seconds": "seconds",
        "memory": "peak_memory_bytes",
    }
    for one in tried:
        trial, tags = asdict(one.trial), user | {"mlflow.parentRunId": parent}
        title = f"{one.trial.strategy}-{one.trial.size}-{one.trial.seed}"
        run = _open_run(client, experiment, title, f"{digest}-{one.key}", tags)
        if client.get_run(run).info.status != "FINISHED":
            metrics = [Metric(name, float(trial[key]), moment, 0) for key, name in names.items()]
            params = [Param(key, str(trial[key])) for key in ("strategy", "size", "seed")]
            client.log_batch(run, metrics=metrics, params=params)
            client.set_terminated(run, "FINISHED")
    metrics = [Metric(key, value, moment, 0) for key, value in result["test"].items()]
    said = [
        RunTag(f"{TAG}.sentence", result["sentence"]),
        RunTag(f"{TAG}.strategy", result["choice"]["strategy"]),
        RunTag(f"{TAG}.data_version", work.data.version),
    ]
    if client.get_run(parent).info.status != "FINISHED":
        client.log_batch(parent, metrics=metrics, tags=said)
    return parent


def _open_run(client: Any, experiment: str, name: str, digest: str, tags: dict[str, str]) -> str:
    found = client.search_runs([experiment], f"tags.`{TAG}.digest` = '{digest}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    tags = tags | {f"{TAG}.digest": digest, **name_writer()}
    return str(client.create_run(experiment, tags=tags, run_name=name).info.run_id)
