"""Small charts as SVG text: crisp on paper, and no plotting library to import."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from finetuning.canvas import Canvas, printable, round_ticks, scale, shorten
from finetuning.evaluation import Bin

# Up to here the cells of a confusion matrix are large enough to hold their counts.
LARGEST_WRITTEN_MATRIX = 12
# More columns than this are too thin to be seen; evenly chosen ones are drawn instead.
MOST_COLUMNS = 60


@dataclass(frozen=True)
class Line:
    """One line of a line chart: a value for every step, NaN where there is none."""

    name: str
    values: Sequence[float]
    colour: str


def line_chart(
    title: str, lines: Sequence[Line], steps: Sequence[tuple[str, int]], best: int | None = None
) -> str:
    """Lines over steps; a step is its phase and epoch, best the index of the one that was kept."""
    canvas = Canvas()
    finite = [value for line in lines for value in line.values if math.isfinite(value)]
    if not finite:
        canvas.text(280, 30, "nothing measured")
        return canvas.svg(560, 50, title, "Nothing was measured.")
    floor, left, right, top = 254, 56, 536, 46
    ticks = round_ticks(min(finite), max(finite))
    up = scale(ticks[0], ticks[-1], floor, top)
    across = scale(-0.5, len(steps) - 0.5, left, right)
    for tick in ticks:
        canvas.line([(left, up(tick)), (right, up(tick))], "grid")
        canvas.text(left - 8, up(tick) + 4, f"{tick:g}", "end")
    _draw_phases(canvas, steps, across, floor)
    said = []
    for place, line in enumerate(lines):
        x = left + 130 * place
        canvas.line([(x, 14), (x + 22, 14)], line.colour, "stroke-width:3")
        canvas.text(x + 28, 18, line.name, "start", 12, "ink")
        _draw_line(canvas, line, across, up, best)
        said.append(f"{line.name} goes from {line.values[0]:.3f} to {line.values[-1]:.3f}")
    description = "; ".join(said) + f" over {len(steps)} epochs."
    if best is not None:
        canvas.line([(across(best), top), (across(best), floor)], "muted", "stroke-dasharray:3 3")
        canvas.text(across(best), top - 6, "kept")
        phase, epoch = steps[best]
        description += f" The weights of {phase} epoch {epoch} were kept."
    return canvas.svg(560, floor + 46, title, description)


def _draw_line(
    canvas: Canvas, line: Line, across: Callable[[float], float], up: Callable[[float], float],
    best: int | None,
) -> None:  # fmt: skip
    """Draw the line, parted where a value is missing, and its points where they are few."""
    for finite, run in groupby(enumerate(line.values), lambda pair: math.isfinite(pair[1])):
        points = list(run) if finite else []
        canvas.line([(across(i), up(v)) for i, v in points], line.colour, "stroke-width:2.2")
        for index, value in points:
            if index == best or len(line.values) <= MOST_COLUMNS:
                radius = 5 if index == best else 2.8
                canvas.dot(across(index), up(value), radius, line.colour, f"{value:.4g}")


def _draw_phases(
    canvas: Canvas, steps: Sequence[tuple[str, int]], across: Callable[[float], float],
    floor: float,
) -> None:  # fmt: skip
    """Draw the epochs' numbers and the phases' names below the axis, a line between phases."""
    for phase, group in groupby(range(len(steps)), lambda index: steps[index][0]):
        indices = list(group)
        border, middle = across(indices[0] - 0.5), across((indices[0] + indices[-1]) / 2)
        canvas.text(middle, floor + 36, f"{phase} epoch", size=12)
        canvas.line([(border, 40), (border, floor + 38)], "muted" if indices[0] else "grid")
        for index in indices[:: math.ceil(len(steps) / 16)]:
            canvas.text(across(index), floor + 17, steps[index][1])


def reliability_diagram(title: str, bins: Sequence[Bin]) -> str:
    """How often the model is right against how sure it says it is; the diagonal is honest."""
    canvas = Canvas()
    filled = [part for part in bins if part.rows]
    most = max((part.rows for part in filled), default=1)
    left, top, floor = 52, 14, 314
    across, up = scale(0, 1, left, left + 300), scale(0, 1, floor, top)
    for tick in (0, 0.2, 0.4, 0.6, 0.8, 1):
        canvas.line([(left, up(tick)), (left + 300, up(tick))], "grid")
        canvas.text(left - 8, up(tick) + 4, f"{tick:g}", "end")
        canvas.text(across(tick), floor + 17, f"{tick:g}")
    for part in filled:
        x, wide = across(part.low) + 1, max(across(part.high) - across(part.low) - 2, 1)
        hint = f"confidence {part.confidence:.3f}, accuracy {part.accuracy:.3f}, {part.rows:,} rows"
        tall, share = floor - up(part.accuracy), 44 * part.rows / most
        canvas.tile(x, up(part.accuracy), (wide, tall), "right", 0.4, hint)
        canvas.tile(x, floor + 96 - share, (wide, share), "muted", 0.7, hint)
    canvas.line([(across(0), up(0)), (across(1), up(1))], "muted", "stroke-dasharray:5 4")
    for part in filled:
        x, y = across(part.confidence), up(part.accuracy)
        canvas.line([(x, y), (x, up(part.confidence))], "wrong", "stroke-width:2")
        canvas.dot(x, y, 4, "right")
    canvas.text(across(0.5), floor + 36, "confidence", size=12)
    canvas.text(left - 8, floor + 84, "rows", "end")
    canvas.text(14, up(0.5), "accuracy", size=12, turn=-90)
    said = [f"{part.accuracy:.2f} at confidence {part.confidence:.2f}" for part in filled]
    return canvas.svg(left + 316, floor + 104, title, f"Accuracy: {'; '.join(said) or 'no rows'}.")


def confusion_matrix(title: str, labels: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """A heat map, true labels down and predictions across, shaded by the share of a true label."""
    canvas, number, written = Canvas(), len(labels), len(labels) <= LARGEST_WRITTEN_MATRIX
    cell = (120 if number <= 3 else 56) if written else max(3.0, min(12.0, 840 / number))
    size = 12 if written else cell * 0.8
    names = [shorten(printable(label), 14 if number <= 3 else 24) for label in labels]
    left = 40 + (max(map(len, names), default=0) + (0 if written else 4)) * size * 0.58
    top = 84.0 if written and number > 3 else 46.0
    for index, name in enumerate(names):
        middle = (index + 0.5) * cell
        if size >= 6:  # smaller cannot be read: the hints on the cells still name the labels
            said = name if written else f"{name} {index + 1}"
            canvas.text(left - 6, top + middle + size / 3, said, "end", size, "ink")
        if written and number > 3:
            start = (left + middle, top - 6)
            canvas.text(*start, shorten(name, 16), "start", 12, "ink", turn=-30)
        elif written or (index + 1) % 5 == 0:
            canvas.text(left + middle, top - 6, name if written else index + 1, "middle", size)
    for true, row in enumerate(counts):
        for predicted, count in enumerate(row):
            if count or written:
                place = (left + predicted * cell, top + true * cell, cell)
                hint = f"{labels[true]} predicted as {labels[predicted]}: {count} of {sum(row)}"
                colour = "right" if true == predicted else "wrong"
                _draw_count(canvas, place, count, sum(row), colour, hint)
    edge = number * cell
    corners = [(left, top), (left + edge, top), (left + edge, top + edge), (left, top + edge)]
    canvas.line([*corners, corners[0]], "grid")
    canvas.text(left + edge / 2, 14, "predicted", size=12)
    canvas.text(14, top + edge / 2, "true label", size=12, turn=-90)
    right, every = sum(row[i] for i, row in enumerate(counts)), sum(map(sum, counts))
    said = f"{right:,} of {every:,} rows are on the diagonal; {number} labels."
    slanted = [shorten(name, 16) for name in names] if written and number > 3 else []
    right_margin = _find_overhang(slanted, cell)
    return canvas.svg(left + edge + right_margin, top + edge + 8, title, said)


def _find_overhang(slanted: Sequence[str], cell: float) -> float:
    """How far the slanted headers of columns reach beyond the right edge, and a little more."""
    reaches = (
        len(name) * 12 * 0.64 * math.cos(math.radians(30)) - (len(slanted) - place - 0.5) * cell
        for place, name in enumerate(slanted)
    )
    return max([10.0, *reaches])


def _draw_count(
    canvas: Canvas, place: tuple[float, float, float], count: int, total: int, colour: str,
    hint: str,
) -> None:  # fmt: skip
    x, y, cell = place
    # The square root keeps a rare confusion visible beside a common one.
    strength = 0.08 + 0.8 * math.sqrt(count / total) if count else 0.04
    gap = 1.5 if cell >= 40 else 0.3
    sides, said = (cell - 2 * gap, cell - 2 * gap), f"{count:,}" if cell >= 40 else ""
    canvas.tile(x + gap, y + gap, sides, colour, strength, hint, said, 26 if cell > 100 else 13)
    if cell > 100:
        written = "white" if strength > 0.6 else "ink"
        canvas.text(x + cell / 2, y + cell - 20, f"{count / (total or 1):.1%}", colour=written)


def learning_rate_table(title: str, rows: Sequence[tuple[str, Sequence[float]]]) -> str:
    """A strategy as the table that it is: layer groups by epochs, the multiplier in each cell."""
    canvas = Canvas()
    epochs = max((len(multipliers) for _, multipliers in rows), default=0)
    shown = range(0, epochs, math.ceil(epochs / MOST_COLUMNS) or 1)
    most = max((value for _, multipliers in rows for value in multipliers), default=0) or 1
    wide, tall, top = max(9.0, min(72.0, 560 / (len(shown) or 1))), 26, 40
    names = [shorten(printable(name), 28) for name, _ in rows]
    left = 20 + max(map(len, names), default=0) * 7
    canvas.text(left + len(shown) * wide / 2, 14, "epoch", size=12)
    for place, epoch in enumerate(shown):
        if wide >= 20 or place % 5 == 0:
            canvas.text(left + (place + 0.5) * wide, 33, epoch + 1)
    for row, (name, (_, multipliers)) in enumerate(zip(names, rows, strict=True)):
        y = top + row * tall
        canvas.text(left - 8, y + 17, name, "end", 12, "ink")
        for place, epoch in enumerate(range(0, len(multipliers), shown.step)):
            value = multipliers[epoch]
            said = f"{value:.3g}" if value else ("frozen" if wide >= 50 else "0")
            hint, strength = f"{name}, epoch {epoch + 1}: {said}", 0.14 + 0.74 * value / most
            spot, sides = (left + place * wide + 1, y + 1), (wide - 2, tall - 2)
            colour = "right" if value else "muted"
            canvas.tile(*spot, sides, colour, strength, hint, said if wide >= 34 else "")
    frozen = sum(not value for _, multipliers in rows for value in multipliers)
    said = f"{len(rows)} layer groups over {epochs} epochs; {frozen} of the cells are frozen."
    return canvas.svg(left + len(shown) * wide + 10, top + len(rows) * tall + 6, title, said)
