"""From a pipeline's name to the work of a run: data and base resolved, faults listed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from finetuning.config import Pipeline
from finetuning.errors import Fault, InputError, TunesmithError, collect, wrong
from finetuning.locks import hold
from finetuning.pipelines import find_pipeline, load_pipeline, load_sound
from finetuning.snapshots import read_tables
from finetuning.sources import BaseModel
from finetuning.strategies import check_depth
from tasks.base_models import resolve_base
from tasks.noted_processes import note_flow_run
from tasks.planning import STATE, Work, plan
from tasks.repository import read_commit
from tasks.versioning import DataVersion, resolve


def prepare_work(
    root: Path, name: str, overrides: Sequence[str] = (), fetch: bool = True
) -> Work | None:
    """Resolve everything that a run needs and plan its stages.

    Args:
        root: The project's folder.
        name: Pipeline name or file.
        overrides: KEY=VALUE items.
        fetch: Download a base model that is not at hand.

    Returns:
        The work; None where the base model is not at hand and fetch is False.

    Raises:
        InputError: With the faults of the pipeline file, the data and the base model together.
    """
    path, faults = find_pipeline(root, name), list[Fault]()
    pipeline = collect(faults, lambda: load_pipeline(path, overrides))
    # Of a faulty file the rest tells where data and base are.
    if pipeline is None and (pipeline := load_sound(path, overrides)) is None:
        raise InputError(faults)
    data = collect(faults, lambda: resolve_data(root, pipeline.data.path))
    base = collect(faults, lambda: resolve_base(root, pipeline, fetch and not faults))
    if base is not None:
        collect(faults, lambda: check_depth(pipeline.strategy, base.folder))
    if faults:
        if data is not None:
            collect(
                faults,
                lambda: read_tables(root / pipeline.data.path, pipeline.data, pipeline.problem),
            )
        raise InputError(faults)
    return _plan(root, pipeline, data, base)


def resolve_data(root: Path, folder: str) -> DataVersion:
    """As `resolve`; where what is missing is the sample, the remedy is to fetch it.

    Raises:
        InputError: As `resolve` has them.
    """
    try:
        return resolve(root, folder)
    except InputError:
        from tasks import sample

        if not sample.is_missing(root, folder):
            raise
        raise wrong("data.path", folder, sample.REMEDY) from None


def _plan(
    root: Path, pipeline: Pipeline, data: DataVersion | None, base: BaseModel | None
) -> Work | None:
    return None if data is None or base is None else plan(root, pipeline, data, base)


def need_work(root: Path, name: str, overrides: Sequence[str] = ()) -> Work:
    """As `prepare_work`, with the base model fetched where it is not at hand, and the commit."""
    work = prepare_work(root, name, overrides)
    if work is None:
        raise TunesmithError(f"the base model of {name} could not be brought here")
    return replace(work, commit=read_commit(root))


def check_tables(work: Work) -> None:
    """Hold the tables against the pipeline file, unless a snapshot has been taken of them already.

    Raises:
        InputError: A file or a column is missing, or a file cannot be read; all are listed.
    """
    if work.store.find("snapshot", work.plans["snapshot"].key, verify=False) is None:
        read_tables(work.root / work.pipeline.data.path, work.pipeline.data, work.pipeline.problem)


@contextmanager
def hold_pipeline(root: Path, name: str, overrides: Sequence[str] = ()) -> Iterator[None]:
    """Be the only run of a pipeline, among all processes; one that has to wait says so."""
    pipeline = load_pipeline(find_pipeline(root, name), overrides).name

    def say() -> None:
        text = f"tunesmith: another run of {pipeline} is under way; this one begins when it ends"
        print(text, file=sys.stderr, flush=True)

    with note_flow_run(root), hold(root / STATE / "locks" / f"{pipeline}.run", say):
        yield
