"""A comparison of strategies in words, and as a page that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from finetuning.comparisons import Cell, Choice
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


def describe_rates(strategies: Sequence[str], rate: float) -> str:
    """At which learning rates strategies were compared: what is true of one may not be of others.

    Args:
        strategies: Their names, see `variants.name_variant`.
        rate: The pipeline's own.
    """
    own = list(dict.fromkeys(one for one in strategies if "@" not in one))
    if len(own) < len(set(strategies)):
        return f"Each at the rate behind its @, the others at the pipeline's own of {rate:g}."
    return (
        f"All at the learning rate {rate:g}, which need not be the best of each: "
        f"{own[-1]}@RATE compares one at another rate, and lora often wants a far higher one."
    )


def describe_choice(choice: Choice, cells: Sequence[Cell], metric: str) -> str:
    """Which strategy the data deserves, and how sure that is, in one plain sentence."""
    own = {cell.strategy: cell for cell in cells if cell.size == choice.size}
    first = own[choice.strategy]
    spoken = metric.replace("_", " ")
    spread = "" if first.spread is None else f" ± {first.spread:.3f}"
    seeds = f"{first.seeds} seed{'s' * (first.seeds != 1)}"
    reached = f"validation {spoken} {first.mean:.3f}{spread} over {seeds}"
    said = f"With {choice.size:,} rows this data deserves {choice.strategy}: {reached}"
    if choice.runner_up is None:
        return f"{said}; nothing else was compared."
    second = own[choice.runner_up]
    low, high = choice.interval
    lead = f"{choice.difference:+.3f} on {choice.runner_up} (interval {low:+.3f} to {high:+.3f})"
    if choice.sure:
        return f"{said}, {lead}, a lead that is sure: it holds with every seed."
    cheaper = (
        f", and {choice.runner_up} took {first.seconds / second.seconds:.1f} times less time"
        if second.seconds * 1.2 < first.seconds
        else ""
    )
    why = "one seed cannot show it" if first.seeds == 1 else "it may be chance"
    return f"{said}, {lead}; that lead is not sure, {why}{cheaper}."
