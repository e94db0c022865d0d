"""Learning curves: a score over the number of rows, one line a strategy."""

from __future__ import annotations

import math
from collections.abc import Sequence

from finetuning.canvas import Canvas, round_ticks, scale
from finetuning.comparisons import Cell

KINDS = 8  # colours that there are


def draw_learning_curves(title: str, cells: Sequence[Cell]) -> str:
    """Means with a bar from the lowest to the highest seed, rows on a logarithmic axis."""
    canvas = Canvas()
    strategies = list(dict.fromkeys(cell.strategy for cell in cells))
    sizes = sorted({cell.size for cell in cells})
    left, right, top = 56, 700, 30 + 22 * math.ceil(len(strategies) / 4)
    floor = top + 300
    ticks = round_ticks(min(cell.low for cell in cells), max(cell.high for cell in cells))
    up = scale(ticks[0], ticks[-1], floor, top)
    # A little room at both ends; a single size stands in the middle.
    first, last = math.log(sizes[0]), math.log(sizes[-1])
    room = 0.06 * (last - first) or 1.0
    across = scale(first - room, last + room, left, right)
    for tick in ticks:
        canvas.line([(left, up(tick)), (right, up(tick))], "grid")
        canvas.text(left - 8, up(tick) + 4, f"{tick:g}", "end")
    for size in sizes:
        canvas.text(across(math.log(size)), floor + 17, f"{size:,}")
    canvas.text((left + right) / 2, floor + 36, "training rows, logarithmic", size=12)
    said = []
    for number, strategy in enumerate(strategies):
        colour = f"kind {number % KINDS}"
        own = sorted((cell for cell in cells if cell.strategy == strategy), key=lambda c: c.size)
        x, y = left + 165 * (number % 4), 14 + 22 * (number // 4)
        canvas.line([(x, y), (x + 22, y)], colour, "stroke-width:3")
        canvas.text(x + 28, y + 4, strategy, "start", 12, "ink")
        # Side by side, so that the bars of one size do not cover each other.
        shift = 5 * (number - (len(strategies) - 1) / 2)
        points = [(across(math.log(cell.size)) + shift, up(cell.mean)) for cell in own]
        canvas.line(points, colour, "stroke-width:2")
        for cell, (place, height) in zip(own, points, strict=True):
            canvas.line([(place, up(cell.low)), (place, up(cell.high))], colour, "stroke-width:1.5")
            hint = f"{strategy}, {cell.size:,} rows: {cell.mean:.4f}"
            canvas.dot(place, height, 4, colour, f"{hint} ({cell.low:.4f} to {cell.high:.4f})")
        steps = ", ".join(f"{cell.mean:.3f} on {cell.size:,} rows" for cell in own)
        said.append(f"{strategy}: {steps}")
    return canvas.svg(right + 24, floor + 46, title, f"{'; '.join(said)}.")
