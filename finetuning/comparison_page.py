"""A comparison of strategies as a page that people read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from finetuning.comparisons import Cell
from finetuning.curves import draw_learning_curves
from finetuning.reports import make_environment

MEBIBYTE = 2**20


def render_comparison(result: Mapping[str, Any]) -> str:
    """The page, which needs nothing beside itself.

    Args:
        result: What `tunesmith compare --json` prints.
    """
    cells = [Cell(**cell) for cell in result["cells"]]
    spoken = result["metric"].replace("_", " ")
    curves = Markup(draw_learning_curves(f"Validation {spoken} over size", cells))
    page = make_environment().get_template("comparison.html")
    return page.render(result=result, cells=cells, spoken=spoken, curves=curves, mebibyte=MEBIBYTE)
