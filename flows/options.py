"""What the commands of both modules share: the option for a program, and the project's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from finetuning.pipelines import find_root

Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]


def here() -> Path:
    """The project's folder."""
    return find_root(Path.cwd())
