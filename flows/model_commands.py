"""The commands about registered models: what they are, and which one is champion."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from flows.answering import answer
from flows.options import Json, here

app = typer.Typer()


@app.command()
def lineage(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION.")],
    as_json: Json = False,
) -> None:
    """What a model version was made from."""
    from flows.inspection import describe_lineage, read_lineage

    answer(as_json, lambda: read_lineage(here(), model), describe_lineage)


@app.command()
def promote(
    model: Annotated[str, typer.Argument(help="NAME (its challenger), NAME/VERSION, NAME@ALIAS.")],
    override: Annotated[
        str | None, typer.Option(metavar="REASON", help="Promote against the gate; recorded.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a version champion, where its verdict allows it."""
    from flows.promoting import describe_promotion, promote_model

    answer(as_json, lambda: promote_model(here(), model, override), describe_promotion)


@app.command()
def rollback(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    reason: Annotated[str | None, typer.Option(help="Why, for the history.")] = None,
    as_json: Json = False,
) -> None:
    """Make the champion before the present one champion again."""
    from flows.promoting import describe_rollback, roll_back_model

    answer(as_json, lambda: roll_back_model(here(), name, reason), describe_rollback)


@app.command()
def history(
    name: Annotated[str, typer.Argument(help="Name of the model.")], as_json: Json = False
) -> None:
    """What was champion from when to when, by which verdict, by whom."""
    from flows.promoting import describe_history, read_history

    answer(as_json, lambda: read_history(here(), name), describe_history)


@app.command()
def gate(
    candidate: Annotated[Path, typer.Argument(help="Table with id, label, prediction.")],
    champion: Annotated[Path, typer.Argument(help="The same rows, predicted by the champion.")],
    policy: Annotated[str, typer.Option(help="better or not_worse.")] = "better",
    metric: Annotated[
        str,
        typer.Option(
            help="accuracy, macro_f1, expected_calibration_error, perplexity, or a numeric column."
        ),
    ] = "accuracy",
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="For a column of which less is better.")
    ] = False,
    alpha: Annotated[float | None, typer.Option(help="Chance of a wrong pass.")] = None,
    margin: Annotated[float | None, typer.Option(help="not_worse: a loss that is none.")] = None,
    minimum: Annotated[float | None, typer.Option(help="Absolute floor of the metric.")] = None,
    max_slice_drop: Annotated[float | None, typer.Option(help="How far a slice may fall.")] = None,
    judged: Annotated[
        int, typer.Option(min=0, help="Challengers that these rows have judged before.")
    ] = 0,
    as_json: Json = False,
) -> None:
    """Judge by two prediction tables whether a candidate may take the champion's place."""
    from flows.judging import describe_verdict, judge_tables

    given = {"alpha": alpha, "margin": margin, "minimum": minimum, "against_champion": policy}
    rules: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if max_slice_drop is not None:
        rules["slices"] = {"max_drop": max_slice_drop}

    def act() -> dict[str, Any]:
        return judge_tables(candidate, champion, metric, lower_is_better, judged, rules)

    answer(as_json, act, describe_verdict)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(metavar="NAME|NAME/VERSION", help="The model then.")],
    after: Annotated[
        str | None,
        typer.Argument(metavar="NAME/VERSION", help="The model now; left out, the data as it is."),
    ] = None,
    as_json: Json = False,
) -> None:
    """What differs between two versions, or between a version and the present data."""
    from flows.differing import compare, describe_differences

    answer(as_json, lambda: compare(here(), before, after), describe_differences)


@app.command()
def reproduce(
    model: Annotated[str, typer.Argument(help="NAME, NAME@ALIAS or NAME/VERSION.")],
    keep: Annotated[bool, typer.Option("--keep", help="Keep the place it was made in.")] = False,
    as_json: Json = False,
) -> None:
    """Make a model again from its record, in a place of its own, and compare."""
    from flows.reproducing import describe_reproduction, reproduce_model

    answer(as_json, lambda: reproduce_model(here(), model, keep), describe_reproduction)
