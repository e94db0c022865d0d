"""A table or a folder of images scored with a registered version: in parts, none of them twice."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetuning.digests import digest_value
from finetuning.errors import Fault, InputError
from finetuning.prediction_parts import (
    FAULT,
    Layout,
    Parts,
    check_output,
    lay_out,
    open_parts,
)
from finetuning.streams import Row, Source, digest_rows, find_source
from tasks.asking import open_worker
from tasks.planning import STATE
from tasks.row_scoring import score_rows
from tasks.scorers import IMAGES, Scorer, find_scorer

if TYPE_CHECKING:
    import pyarrow

INPUT, OUTPUT, BATCH_ROWS = "--input", "--output", "--batch-rows"
ROWS = 1000  # in a part: enough that its batches are of like length, few enough to be kept often
# Where a row is an image of megabytes, or takes seconds because the model writes.
FEW_ROWS = 64


@dataclass(frozen=True)
class Job:
    """What is to be scored with what, settled before anything is.

    columns: role -> the input's column. batch_rows: rows in a part, and in memory.
    """

    root: Path
    scorer: Scorer
    source: Source
    output: Path
    layout: Layout
    columns: Mapping[str, str]
    parameters: Mapping[str, float | int]
    batch_rows: int

    @property
    def is_of_images(self) -> bool:
        """Whether a cell is the path of an image."""
        return self.scorer.served == IMAGES

    @property
    def lock(self) -> Path:
        """The file that whoever writes this output holds."""
        mark = digest_value(str(self.output))[:16]
        return self.root / STATE / "locks" / f"{mark}.predict"

    def open_parts(self) -> Parts:
        """Its parts, those of another job discarded."""
        settings = {
            "model": self.scorer.label,
            "digest": self.scorer.digest,
            "registry": self.scorer.tracking_uri,
            "columns": dict(self.columns),
            "parameters": dict(self.parameters),
            "batch_rows": self.batch_rows,
            "layout": [list(self.layout.kept), dict(self.layout.written)],
        }
        return open_parts(self.output, self.layout, settings)


@dataclass(frozen=True)
class Scored:
    """What became of a job's rows.

    kept: rows that an earlier attempt had scored. seconds: all of it; loading: the model's part.
    """

    parts: int
    kept: int
    seconds: float
    loading: float


def plan_job(
    root: Path,
    reference: str,
    given: Path,
    output: Path,
    columns: Mapping[str, str] | None = None,
    parameters: Mapping[str, float] | None = None,
    batch_rows: int | None = None,
) -> Job:
    """Settle a job: the version, once and for all; the input, looked through; and its columns.

    Args:
        root: The project's folder.
        reference: NAME (its champion), NAME@ALIAS or NAME/VERSION.
        given: A table, or a folder of images.
        output: csv, jsonl or parquet.
        columns: role -> the input's column, where it is not the one that the model was trained on.
        parameters: What the model lets a caller set.
        batch_rows: Rows in a part; None: 1000, or 64 of images and where the model writes.

    Raises:
        InputError: Anything of it is wrong.
    """
    if batch_rows is not None and batch_rows < 1:
        raise InputError([Fault(BATCH_ROWS, str(batch_rows), "Give at least 1.")])
    scorer = find_scorer(root, reference)
    settings = scorer.check_settings(parameters or {})
    image_column = scorer.roles["image"] if scorer.served == IMAGES else None
    source = find_source(given, INPUT, image_column)
    read = choose_columns(scorer, source, columns or {})
    if faults := check_output(output, given, OUTPUT):
        raise InputError(faults)
    few = scorer.served == IMAGES or scorer.settings
    return Job(
        root=root,
        scorer=scorer,
        source=source,
        output=output.absolute(),
        layout=lay_out(source.columns, scorer.answers, INPUT),
        columns=read,
        parameters=settings,
        batch_rows=batch_rows or (FEW_ROWS if few else ROWS),
    )


def choose_columns(scorer: Scorer, source: Source, given: Mapping[str, str]) -> dict[str, str]:
    """The input's column for each role; a role that may be missing is left out where it is.

    Raises:
        InputError: There is no such role or column; all faults are listed.
    """
    known, there = ", ".join(scorer.roles), ", ".join(source.columns)
    faults = [
        Fault("--column", role, f"{scorer.label} reads {known}.")
        for role in given
        if role not in scorer.roles
    ]
    chosen = {}
    for role, own in scorer.roles.items():
        name = given.get(role, own)
        if name in source.columns:
            chosen[role] = name
        elif role in given or role not in scorer.optional:
            remedy = f"{source.path.name} has the columns {there}: --column {role}=NAME names one."
            faults.append(Fault(f"--column {role}", f"no column {name!r}", remedy))
    if faults:
        raise InputError(faults)
    return chosen


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
