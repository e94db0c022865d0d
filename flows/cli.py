"""The command line, `tunesmith COMMAND`: each command imports what it needs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from finetuning.errors import Fault, InputError
from flows import model_commands
from flows.answering import answer, write
from flows.options import Json, here

app = typer.Typer(
    name="tunesmith",
    help="Keep fine-tuned models in production: run, judge, register, trace.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Name = Annotated[str, typer.Argument(metavar="NAME|FILE", help="Pipeline name or file.")]
Overrides = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the file.")
]
Roles = Annotated[
    list[str], typer.Option("--column", metavar="ROLE=NAME", help="Which column holds what.")
]
Settings = Annotated[
    list[str], typer.Option("--parameter", metavar="NAME=NUMBER", help="As the model takes it.")
]


def Port(help_text: str) -> Any:  # noqa: N802 - it stands where typer's classes stand
    """An option that takes a port."""
    return typer.Option(min=1, max=65535, help=help_text)


@app.command()
def run(name: Name, overrides: Overrides = [], as_json: Json = False) -> None:  # noqa: B006
    """Run a pipeline; a model that is up to date is not trained again."""
    from flows.running import describe_result, run_pipeline

    answer(as_json, lambda: run_pipeline(here(), name, overrides, as_json), describe_result)


@app.command()
def validate(name: Name, overrides: Overrides = [], as_json: Json = False) -> None:  # noqa: B006
    """Validate a pipeline's data; nothing is trained."""
    from flows.checking import describe_validation, validate_pipeline

    answer(as_json, lambda: validate_pipeline(here(), name, overrides), describe_validation)


@app.command()
def compare(
    name: Name,
    strategies: Annotated[
        str,
        typer.Option(
            help="Strategies, with commas between them; NAME@RATE has a learning rate of its own."
        ),
    ] = "head,probe-then-tune,full,lora,scratch",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="How many seeds each.")] = 3,
    sizes: Annotated[
        str, typer.Option(help="Numbers of training rows, with commas; all for all of them.")
    ] = "all",
    overrides: Overrides = [],  # noqa: B006
    as_json: Json = False,
) -> None:
    """Train with several strategies, sizes and seeds, and say which one the data deserves."""
    from flows.comparing import compare_strategies, describe_comparison

    def act() -> dict[str, Any]:
        return compare_strategies(here(), name, strategies, sizes, seeds, overrides, as_json)

    answer(as_json, act, describe_comparison)


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Name of the new pipeline and model.")],
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="csv, tsv, jsonl, parquet, json or txt file, or class folders."
        ),
    ],
    as_json: Json = False,
) -> None:
    """Make a pipeline file for data of your own, with guesses to check."""
    from flows.beginning import begin_pipeline, describe_beginning

    answer(as_json, lambda: begin_pipeline(here(), name, data), describe_beginning)


@app.command()
def convert(
    checkpoint: Annotated[Path, typer.Argument(help="A file that torch.save wrote.")],
    target: Annotated[Path, typer.Option("--to", help="Folder to make.")],
    architecture: Annotated[
        str | None, typer.Option(help="Such as resnet20 or vgg16_bn; left out, what fits.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make a base model of a pickled checkpoint, without running what it holds."""
    from flows.converting import convert_checkpoint, describe_conversion

    def act() -> dict[str, Any]:
        return convert_checkpoint(here(), checkpoint, target, architecture)

    answer(as_json, act, describe_conversion)


@app.command()
def status(as_json: Json = False) -> None:
    """Every pipeline: its newest model, and whether its data has changed since."""
    from flows.inspection import describe_status, read_status

    answer(as_json, lambda: read_status(here()), describe_status)


@app.command()
def predict(
    model: Annotated[str, typer.Argument(help="NAME (its champion), NAME@ALIAS or NAME/VERSION.")],
    given: Annotated[Path, typer.Option("--input", help="A table, or a folder of images.")],
    output: Annotated[Path, typer.Option("--output", help="csv, jsonl or parquet to write.")],
    columns: Roles = [],  # noqa: B006
    parameters: Settings = [],  # noqa: B006
    batch_rows: Annotated[int | None, typer.Option(help="Rows in memory at a time.")] = None,
    as_json: Json = False,
) -> None:
    """Score a table or a folder of images with a registered version."""
    from flows.predicting import describe_predictions, predict_table

    words = (here(), model, given, output, columns, parameters, batch_rows, as_json)
    answer(as_json, lambda: predict_table(*words), describe_predictions)


@app.command()
def doctor(
    name: Annotated[str | None, typer.Argument(help="Pipeline to look at too.")] = None,
    as_json: Json = False,
) -> None:
    """What this machine has and lacks, with the remedy for each."""
    from flows.doctor import describe_health, diagnose

    answer(as_json, lambda: diagnose(here(), name), describe_health)


@app.command()
def schema() -> None:
    """Print the pipeline file's JSON Schema, for editors."""
    from finetuning.config import Pipeline

    write(json.dumps(Pipeline.model_json_schema(), indent=1))


@app.command()
def notify(
    install_hook: Annotated[
        bool, typer.Option("--install-hook", help="Let git notify after commits and merges.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Say that data may have changed, so that watch looks at once."""
    from flows.notifying import install_hooks
    from flows.notifying import notify as send

    def act() -> dict[str, Any]:
        return install_hooks(here()) if install_hook else send(here())

    answer(as_json, act, lambda result: str(result["message"]))


@app.command()
def up(
    prefect_port: Annotated[int, Port("Port of Prefect's UI.")] = 4200,
    mlflow_port: Annotated[int, Port("Port of MLflow's UI.")] = 5000,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own need logins.")
    ] = "127.0.0.1",
) -> None:
    """Start Prefect's server, MLflow's server, and a process that serves every pipeline."""
    from flows.serving import serve_all

    def act() -> dict[str, Any]:
        return serve_all(here(), prefect_port, mlflow_port, host)

    answer(False, act, lambda result: str(result["message"]))


app.add_typer(model_commands.app)


def main() -> None:
    """The entry point."""
    try:
        app()
    except RecursionError:
        print("tunesmith: the input is nested too deeply", file=sys.stderr)
        sys.exit(InputError([Fault("input", "nesting", "")]).exit_code)


if __name__ == "__main__":
    main()
