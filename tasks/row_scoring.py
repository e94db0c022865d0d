"""The rows of one part: what the model is asked, what it answers, and why a row has no answer."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from finetuning.errors import TunesmithError
from finetuning.images import UnreadableImageError, find_image, open_image
from tasks.scorers import IMAGES

if TYPE_CHECKING:
    from finetuning.table_streams import Row
    from tasks.asking import Worker
    from tasks.scoring_jobs import Job

INFINITE = "the model answers with a number that is not finite"


class UnusableRowError(Exception):
    """A row that the model is not asked about; the message says why, in a few words."""


def score_rows(job: Job, worker: Worker, rows: list[Row]) -> list[list[Any]]:
    """Of each row the answers (None where there are none), the model, and the fault or None.

    Raises:
        TunesmithError: The model takes no row at all, and has taken none before.
    """
    inputs, faults = {}, {}
    for place, row in enumerate(rows):
        try:
            inputs[place] = _read_inputs(job, row)
        except UnusableRowError as error:
            faults[place] = str(error)
    answers, refused = _ask(job, worker, inputs) if inputs else ({}, {})
    faults |= refused
    nothing = [None] * len(job.scorer.answers)
    scored = []
    for place in range(len(rows)):
        own = answers.get(place, nothing)
        if any(isinstance(cell, float) and not math.isfinite(cell) for cell in own):
            own, faults[place] = nothing, INFINITE
        scored.append([*own, job.scorer.label, faults.get(place)])
    return scored


def _read_inputs(job: Job, row: Row) -> dict[str, Any]:
    """What the model is given for a row: its column -> a text, or an image file's bytes."""
    cells = {}
    for role, name in job.columns.items():
        cell = row[job.source.columns.index(name)]
        if role not in job.scorer.optional and (cell is None or not cell.strip()):
            raise UnusableRowError(f"{name} is empty")
        try:
            is_image = job.scorer.served == IMAGES
            content = find_image(job.source.folder, cell or "") if is_image else cell or ""
        except UnreadableImageError as error:
            raise UnusableRowError(str(error)) from None
        cells[job.scorer.roles[role]] = content
    return cells


def _ask(
    job: Job, worker: Worker, inputs: dict[int, dict[str, Any]]
) -> tuple[dict[int, list[Any]], dict[int, str]]:
    """Place -> answers, and place -> why there are none."""
    import pyarrow

    places, given = list(inputs), list(inputs.values())
    kind = pyarrow.binary() if job.scorer.served == IMAGES else pyarrow.string()
    columns = {name: pyarrow.array([one[name] for one in given], kind) for name in given[0]}
    table, raised = worker.ask(pyarrow.table(columns))
    faults, mistaken = {}, []
    for at, why in raised.items():
        own = _find_damage(given[at])
        mistaken += [] if own else [why]
        faults[places[at]] = own or f"the model does not take it: {why}"
    if len(mistaken) == len(given) and not worker.has_answered:
        raise TunesmithError(f"{job.scorer.label} does not take these rows: {mistaken[0]}")
    if table is None:
        return {}, faults
    worker.has_answered = True
    taken = [place for place in places if place not in faults]
    cells = zip(*(table[name].to_pylist() for name in job.scorer.answers), strict=True)
    return {place: list(own) for place, own in zip(taken, cells, strict=True)}, faults


def _find_damage(cells: dict[str, Any]) -> str | None:
    """Why an image among the cells cannot be read; None where all can, or there is none."""
    for content in cells.values():
        try:
            if isinstance(content, bytes):
                open_image(content)
        except UnreadableImageError as error:
            return str(error)
    return None
