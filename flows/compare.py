"""The comparison's flow: the same data, the same budget, several strategies, sizes and seeds."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import flow

from finetuning.pipelines import find_root
from finetuning.variants import choose_sizes, name_variant, vary
from flows.environment import hush_libraries
from flows.preparation import hold_pipeline, need_work
from tasks.checking import validate
from tasks.comparing import Contender, judge_trials, record_comparison, try_strategy
from tasks.encoding import encode
from tasks.evaluation import evaluate
from tasks.planning import plan, settle
from tasks.snapshot import snapshot
from tasks.stages import fetch
from tasks.training import train


@flow(name="compare", flow_run_name="{pipeline}", validate_parameters=True)
def compare(
    pipeline: str,
    strategies: list[str],
    sizes: list[str],
    seeds: int = 3,
    overrides: list[str] | None = None,
    root: Path | None = None,
) -> dict[str, Any]:
    """Try strategies on parts of the training rows; score the one chosen on validation on test.

    Args:
        pipeline: Name of a pipeline file, or its path.
        strategies: Kinds of strategies; KIND@RATE has a learning rate of its own.
        sizes: Numbers of training rows, or all.
        seeds: How many seeds, from the pipeline's own upwards.
        overrides: KEY=VALUE items over the file.
        root: The project's folder; null looks upwards from the working folder.
    """
    started = time.monotonic()
    hush_libraries()
    root = root or find_root(Path.cwd())
    with hold_pipeline(root, pipeline, overrides or []):
        work = need_work(root, pipeline, overrides or [])
        snapshot(work)
        work = settle(work)
        validate(work)
        encode(work)
        counts = choose_sizes(sizes, fetch(work, "encode").facts["rows"]["train"])
        variants = vary(work.pipeline, strategies, seeds)
        named = [(one, name_variant(one, work.pipeline)) for one in variants]
        contenders = [Contender(one, size, name) for size in counts for one, name in named]
        tried = [try_strategy(work, one) for one in contenders]
        judged = judge_trials(work, tried)
        chosen = next(one for one, name in named if name == judged["choice"]["strategy"])
        winner = plan(root, chosen, work.data, work.base)
        train(winner)
        evaluate(winner)
        result = record_comparison(work, winner, tried, judged)
        return {"status": "compared", **result, "seconds": round(time.monotonic() - started, 3)}
