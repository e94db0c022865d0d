"""`tunesmith predict`: a registered version scores a table or a folder of images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finetuning.errors import Fault, InputError, collect
from finetuning.locks import hold
from finetuning.progress import count
from flows.environment import prepare_environment


def predict_table(
    root: Path,
    reference: str,
    given: Path,
    output: Path,
    columns: Sequence[str],
    parameters: Sequence[str],
    batch_rows: int | None,
    quiet: bool,
) -> dict[str, Any]:
    """Score a table or a folder of images; the same command goes on after a kill.

    Args:
        root: The project's folder.
        reference: NAME (its champion), NAME@ALIAS or NAME/VERSION.
        given: The table or the folder.
        output: csv, jsonl or parquet.
        columns: ROLE=NAME items.
        parameters: NAME=NUMBER items.
        batch_rows: Rows in a part; None leaves it to the model's kind.
        quiet: No progress bar.

    Raises:
        InputError: The input is wrong.
        TunesmithError: The model does not load or answer.
    """
    prepare_environment(root, quiet)
    faults: list[Fault] = []
    roles = collect(faults, lambda: split_items(columns, "--column"))
    numbers = collect(faults, lambda: read_numbers(parameters))
    if faults:
        raise InputError(faults)
    from tasks.scoring import conclude, score
    from tasks.scoring_jobs import plan_job

    job = plan_job(root, reference, given, output, roles, numbers, batch_rows)

    def say() -> None:
        text = f"tunesmith: another run writes {output.name}; this one begins when it ends"
        print(text, file=sys.stderr, flush=True)

    with hold(job.lock, say), count(job.source.rows, f"{job.scorer.label}", "rows") as tell:
        return conclude(job, score(job, tell))


def split_items(items: Sequence[str], option: str) -> dict[str, str]:
    """KEY=VALUE items as a mapping.

    Raises:
        InputError: One is none; all faults are listed.
    """
    remedy = f"Write {option} KEY=VALUE."
    faults = [Fault(option, repr(one), remedy) for one in items if not all(one.partition("="))]
    if faults:
        raise InputError(faults)
    return {key: value for key, _, value in (one.partition("=") for one in items)}


def read_numbers(items: Sequence[str]) -> dict[str, float]:
    """NAME=NUMBER items as a mapping.

    Raises:
        InputError: One is none; all faults are listed.
    """
    numbers, faults = {}, []
    for name, text in split_items(items, "--parameter").items():
        try:
            numbers[name] = float(text)
        except ValueError:
            faults.append(Fault(f"--parameter {name}", repr(text), "Give a number."))
    if faults:
        raise InputError(faults)
    return numbers


def describe_predictions(result: dict[str, Any]) -> str:
    """How many rows, how many of each label, and where they are."""
    lines = [f"{result['model']}: {result['rows']:,} rows scored to {result['output']}"]
    lines += [f"  {label:<32} {rows:>10,}" for label, rows in result["labels"].items()]
    if result["unscored_rows"]:
        fault = result["columns"]["fault"]
        lines.append(f"  without an answer, see {fault:<9} {result['unscored_rows']:>10,}")
    if result["kept_rows"]:
        lines.append(f"  kept from an earlier attempt     {result['kept_rows']:>10,}")
    renamed = {name: written for name, written in result["columns"].items() if name != written}
    lines += [f"  {name} is in the input; see {written}" for name, written in renamed.items()]
    speed = result["rows_per_second"]
    said = "" if speed is None else f", {speed:,.0f} rows a second once the model was loaded"
    lines.append(f"  took {result['seconds']:.1f} s{said}")
    return "\n".join(lines)
