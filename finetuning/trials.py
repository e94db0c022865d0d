"""One trial of a comparison: one strategy, on a part of the training rows, with one seed."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from finetuning.errors import TunesmithError
from finetuning.progress import QUIET

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    import pandas

    from finetuning.config import Pipeline

PREDICTIONS = "validation.parquet"


def order_nested(labels: np.ndarray, seed: int) -> np.ndarray:
    """All rows in an order of which every beginning is stratified: (rows,) indices.

    Each label's rows are shuffled and spread evenly over the whole, so that the first 100 lie
    within the first 500 and both have the labels' shares, to a row a label.
    """
    generator = np.random.default_rng(seed)
    places = np.empty(len(labels))
    for label in np.unique(labels):
        own = generator.permutation(np.flatnonzero(labels == label))
        places[own] = (np.arange(len(own)) + generator.random()) / len(own)
    return np.argsort(places, kind="stable")


def carry_out(
    base: Path,
    encoded: Path,
    labels: tuple[str, ...],
    longest: int,
    pipeline: Pipeline,
    part: tuple[int, int],
    checked: pandas.DataFrame,
    folder: Path,
) -> dict[str, Any]:
    """Train on a part of the training rows, and keep what was answered to the validation rows.

    Meant for a process of its own: the peak memory is the whole process's.

    Args:
        base: The base model's files.
        encoded: The encode stage's files; the test split's is not opened.
        labels: The labels; none where the problem has no classes.
        longest: The longest row in tokens.
        pipeline: Its problem, data, model, strategy and training are read; its seed draws the rows
            too.
        part: Number of training rows to take, and of all; all of them stay in their order, as in a
            run. Where encoded rows are windows or blocks, the same share of those is taken.
        checked: The table's validation rows, in the order in which they were encoded.
        folder: Where the prediction table goes.

    Returns:
        trained (parameters), seconds (model, training and its validation), memory (bytes), history.
    """
    from finetuning.adaptation import adapt, save_adapted
    from finetuning.problem import find_problem

    problem, columns = find_problem(pipeline.problem), pipeline.data.columns
    encoding = problem.encoding
    rows, validation = (
        encoding.load_rows(encoded / f"{split}.safetensors") for split in ("train", "validation")
    )
    size, total = part
    if size < total:
        taken = max(1, len(rows) * size // total)
        rows = rows.take(np.sort(order_nested(rows.labels, pipeline.training.seed)[:taken]))
    started = time.monotonic()
    adapted = adapt(base, len(labels), pipeline, rows, validation, longest, folder)
    seconds, memory = time.monotonic() - started, measure_peak()
    with tempfile.TemporaryDirectory(dir=folder) as place:
        # As it would be registered, which is what answers.
        save_adapted(adapted, Path(place), labels, pipeline, pipeline.model.base)
        model, description = problem.modelling.load(Path(place))
    examined = problem.scoring.examine(model, description, validation, checked, columns)
    table = problem.scoring.mark(examined.answers.set_axis(checked.index), checked, columns)
    table.to_parquet(folder / PREDICTIONS, index=False)
    return {
        "trained": adapted.trained,
        "seconds": seconds,
        "memory": memory,
        "history": [epoch.to_json() for epoch in adapted.result.history],
    }


def report(sender: Connection, *inputs: Any) -> None:
    """Carry a trial out as a process's only work, and send its facts, or what went wrong.

    Args:
        sender: Where they go.
        inputs: What `carry_out` takes.
    """
    # An interrupt is the parent's to answer: it ends this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A line a trial is what the comparison tells: bars of many trainings would swamp it.
    os.environ[QUIET] = "1"
    try:
        sender.send(carry_out(*inputs))
    except (TunesmithError, FloatingPointError, MemoryError) as error:
        sender.send(error)
    except Exception as error:  # not every exception can be sent
        sender.send(RuntimeError("".join(traceback.format_exception(error))))


def measure_peak() -> int:
    """The most memory this process has held, in bytes; on a GPU, what torch has held there."""
    import torch

    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_allocated())
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)
