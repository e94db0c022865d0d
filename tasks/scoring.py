"""A table or a folder of images scored with a registered version: in parts, none of them twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from finetuning.prediction_parts import (
    FAULT,
)
from finetuning.streams import digest_rows
from finetuning.table_streams import Row
from tasks.asking import open_worker
from tasks.row_scoring import score_rows
from tasks.scoring_jobs import Job

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True)
class Scored:
    """What became of a job's rows.

    kept: rows that an earlier attempt had scored. seconds: all of it; loading: the model's part.
    """

    parts: int
    kept: int
    seconds: float
    loading: float


def score(job: Job, tell: Callable[[int], object]) -> Scored:
    """Score what is not scored yet, part by part.

    Args:
        job: What is to be scored.
        tell: Told how many more rows are done.

    Raises:
        TunesmithError: The model does not load, takes no row at all, or its process died; or the
            input changed.
    """
    started = time.monotonic()
    parts, number, kept = job.open_parts(), 0, 0
    with open_worker(job.scorer, job.parameters) as worker:
        for number, rows in enumerate(job.source.cut(job.batch_rows), 1):
            digest = digest_rows(job.source.columns, rows, _mark_images(job, rows))
            if parts.has(number - 1, digest):
                kept += len(rows)
                worker.has_answered = True
            else:
                parts.keep(number - 1, digest, rows, score_rows(job, worker, rows))
            tell(len(rows))
    return Scored(number, kept, time.monotonic() - started, worker.loading)


def conclude(job: Job, scored: Scored) -> dict[str, Any]:
    """Put the output together and count what it holds.

    Returns:
        What the command prints with --json.
    """
    parts, counts, unscored = job.open_parts(), Counter[str](), 0
    fault, label = job.layout.written[FAULT], job.layout.written.get("label")

    def read() -> Iterator[pyarrow.Table]:
        nonlocal unscored
        for number in range(scored.parts):
            table = parts.read(number)
            unscored += len(table) - table[fault].null_count
            if label is not None:
                counts.update(one for one in table[label].to_pylist() if one is not None)
            yield table

    parts.finish(job.output, read())
    new = job.source.rows - scored.kept
    return {
        "status": "predicted",
        "model": job.scorer.label,
        "model_version": job.scorer.version,
        "model_uri": job.scorer.uri,
        "input": str(job.source.path),
        "output": str(job.output),
        "columns": dict(job.layout.written),
        "rows": job.source.rows,
        "unscored_rows": unscored,
        "kept_rows": scored.kept,
        "labels": dict(sorted(counts.items())),
        "seconds": round(scored.seconds, 3),
        "load_seconds": round(scored.loading, 3),
        "rows_per_second": round(new / (scored.seconds - scored.loading), 1) if new else None,
    }


def _mark_images(job: Job, rows: list[Row]) -> dict[str, str]:
    """Size and modification time of each image: what changed there is scored again."""
    if not job.is_of_images:
        return {}
    at = job.source.columns.index(job.columns["image"])
    marks = {}
    for path in {row[at] for row in rows}:
        try:
            status = (job.source.folder / str(path)).stat()
            marks[str(path)] = f"{status.st_size}:{status.st_mtime_ns}"
        except (OSError, ValueError):
            marks[str(path)] = "none"
    return marks
