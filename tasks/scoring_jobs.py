"""What a scoring job is, settled before anything is scored: version, input, columns, output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from finetuning.digests import digest_value
from finetuning.errors import Fault, InputError, collect
from finetuning.prediction_parts import Layout, Parts, check_output, lay_out, open_parts
from finetuning.streams import Source, find_source
from tasks.planning import STATE
from tasks.scorers import IMAGES, Scorer, find_scorer

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
        InputError: Anything of it is wrong; all faults are listed that can be seen.
    """
    faults = check_output(output, given, OUTPUT)
    if batch_rows is not None and batch_rows < 1:
        faults.append(Fault(BATCH_ROWS, str(batch_rows), "Give at least 1."))
    scorer = collect(faults, lambda: find_scorer(root, reference))
    if scorer is None:
        if not given.exists():
            collect(faults, lambda: find_source(given, INPUT))
        raise InputError(faults)
    settings = collect(faults, lambda: scorer.check_settings(parameters or {}))
    image_column = scorer.roles["image"] if scorer.served == IMAGES else None
    source = collect(faults, lambda: find_source(given, INPUT, image_column))
    if source is None:
        raise InputError(faults)
    read = collect(faults, lambda: choose_columns(scorer, source, columns or {}))
    if settings is None or read is None or faults:
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
