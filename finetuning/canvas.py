"""Drawing as SVG text: what every chart is made of.

Colours are CSS variables with a fallback: the page decides about light and dark, and a chart
that stands alone still has its colours. Every chart carries a title and a description in words.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Callable, Sequence

COLOURS = {
    "ink": "currentColor",
    "white": "#fff",
    "train": "var(--train, #b45309)",
    "validation": "var(--validation, #2563eb)",
    "right": "var(--right, #2563eb)",
    "wrong": "var(--wrong, #dc2626)",
    "grid": "var(--grid, #d6dae1)",
    "muted": "var(--muted, #667085)",
    # Kinds beside each other, told apart with any colour vision (Okabe and Ito 2008), and on both
    # light and dark pages.
    **{
        f"kind {number}": colour
        for number, colour in enumerate(
            ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a6fd1", "#7f7f7f")
        )
    },
}
# What neither XML nor UTF-8 can carry: control characters and lone surrogates.
UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def printable(text: object) -> str:
    """The text with a replacement mark for everything that XML and UTF-8 cannot carry."""
    return UNPRINTABLE.sub("\ufffd", str(text))


def shorten(text: str, limit: int) -> str:
    """The text, cut to the limit with an ellipsis where it is longer."""
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"


def _escape(text: object) -> str:
    return html.escape(printable(text))


class Canvas:
    """SVG elements in drawing order."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def text(
        self, x: float, y: float, said: object, anchor: str = "middle", size: float = 11,
        colour: str = "muted", turn: float = 0,
    ) -> None:  # fmt: skip
        """Write a text, turned by degrees."""
        turned = f' transform="rotate({turn:g} {x:.1f} {y:.1f})"' if turn else ""
        self.parts.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size:.3g}"'
            f'{turned} style="fill:{COLOURS[colour]}">{_escape(said)}</text>'
        )

    def line(self, points: Sequence[tuple[float, float]], colour: str, style: str = "") -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        style = f"fill:none;stroke:{COLOURS[colour]};{style}"
        self.parts.append(f'<polyline points="{path}" style="{style}"/>')

    def dot(self, x: float, y: float, radius: float, colour: str, hint: str = "") -> None:
        """Draw a dot with a hint."""
        self.parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" style="fill:{COLOURS[colour]}">'
            f"<title>{_escape(hint)}</title></circle>"
        )

    def tile(
        self, x: float, y: float, sides: tuple[float, float], colour: str, strength: float,
        hint: str, said: str = "", size: float = 11,
    ) -> None:  # fmt: skip
        """Draw a tile of that strength, from 0 to 1, with a hint and a text on it."""
        self.parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{sides[0]:.1f}" height="{sides[1]:.1f}" '
            f'style="fill:{COLOURS[colour]};fill-opacity:{strength:.2f}">'
            f"<title>{_escape(hint)}</title></rect>"
        )
        if said:
            # Ink on a pale tile, white on a strong one: readable on light and on dark pages.
            written = "white" if strength > 0.6 else "ink"
            middle = (x + sides[0] / 2, y + sides[1] / 2 + size / 3)
            self.text(*middle, said, size=size, colour=written)

    def svg(self, width: float, height: float, title: str, description: str) -> str:
        """The whole drawing, with its title and description in words."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" width="{width:.0f}" '
            f'height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}" '
            f'font-family="system-ui, sans-serif"><title>{_escape(title)}</title>'
            f"<desc>{_escape(description)}</desc>{''.join(self.parts)}</svg>"
        )


def scale(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    """From values to places: low to start, high to stop."""
    return lambda value: start + (value - low) / ((high - low) or 1) * (stop - start)


def round_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers, evenly spaced, that cover low to high."""
    span = high - low if high - low > 1e-6 * abs(high) else abs(high) or 1.0
    power = 10.0 ** math.floor(math.log10(span / most))
    step = next(power * factor for factor in (1, 2, 5, 10, 20) if span / (power * factor) <= most)
    # Rounding first: 1.0 / 0.1 must not become 10.000000000000002 and add a tick.
    first = math.floor(round(low / step, 6))
    last = max(math.ceil(round(high / step, 6)), first + 1)
    return [float(f"{index * step:.10g}") for index in range(first, last + 1)]
