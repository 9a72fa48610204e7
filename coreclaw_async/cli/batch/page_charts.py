"""Charts as inline SVG, which a browser stretches to any width; their text is in HTML beside them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from html import escape

import attrs

_WIDTH, _HEIGHT = 600.0, 160.0
_BAR_HEIGHT = 24.0
_MIN_WIDTH = 2.0


@attrs.frozen
class Part:
    """
    A part of a bar.

    Attributes:
        name: What it is.
        amount: How much.
        colour: The name of its colour.
        words: The amount as text.
    """

    name: str
    amount: float
    colour: str
    words: str


@attrs.frozen
class Curve:
    """
    A line, or an area, over time.

    Attributes:
        values: Its heights, at even distances.
        colour: The name of its colour; for a line, the class that has it.
        below: Where the area begins; None for a line.
    """

    values: Sequence[float]
    colour: str
    below: Sequence[float] | None = None


class ChartIds:
    """Makes the charts of a page, each with unique ids."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def figure(self, title: str, description: str, height: float, shapes: str) -> str:
        """Return a chart with a title and a description for screen readers."""
        name = f"chart{next(self._numbers)}"
        return (
            f'<svg role="img" aria-labelledby="{name}-title {name}-desc" viewBox="0 0 {_WIDTH:g} {height:g}" '
            f'preserveAspectRatio="none" class="chart" height="{height:g}">'
            f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
            f"{shapes}</svg>"
        )

    def stacked_bar(self, title: str, parts: Sequence[Part]) -> str:
        """Return a bar of *parts*, each wide enough to be seen."""
        present = [part for part in parts if part.amount > 0]
        described = ", ".join(f"{part.name}: {part.words}" for part in present) or "nothing"
        return self.figure(title, described, _BAR_HEIGHT, "".join(_segments(present)))

    def meter(self, title: str, description: str, share: float, colour: str) -> str:
        """Return a bar that is full at a share of 1."""
        filled = _WIDTH * min(max(share, 0.0), 1.0)
        shapes = _rectangle(0, _WIDTH, "track") + (_rectangle(0, max(filled, _MIN_WIDTH), colour) if share > 0 else "")
        return self.figure(title, description, _BAR_HEIGHT, shapes)

    def over_time(self, title: str, description: str, lines: Sequence[Curve], highest: float) -> str:
        """Return lines over time, with 0 at the bottom and *highest* at the top."""
        grid = "".join(
            f'<line x1="0" x2="{_WIDTH:g}" y1="{_HEIGHT * part / 4:g}" y2="{_HEIGHT * part / 4:g}" class="grid"/>'
            for part in range(5)
        )
        return self.figure(title, description, _HEIGHT, grid + "".join(_path(line, highest) for line in lines))


def _segments(parts: Sequence[Part]) -> Iterator[str]:
    total = sum(part.amount for part in parts)
    widths = [max(_WIDTH * part.amount / total, _MIN_WIDTH) for part in parts]
    scale = _WIDTH / sum(widths) if widths else 1.0
    left = 0.0
    for part, width in zip(parts, widths, strict=True):
        yield _rectangle(left, width * scale, part.colour)
        left += width * scale


def _rectangle(left: float, width: float, colour: str) -> str:
    return f'<rect x="{left:.2f}" y="0" width="{width:.2f}" height="{_BAR_HEIGHT:g}" class="fill-{colour}"/>'


def _path(line: Curve, highest: float) -> str:
    over = _points(line.values, highest)
    if line.below is None:
        return f'<polyline points="{" ".join(over)}" class="line {line.colour}"/>'
    under = _points(line.below, highest)
    return f'<polygon points="{" ".join([*over, *reversed(under)])}" class="fill-{line.colour}"/>'


def _points(values: Sequence[float], highest: float) -> list[str]:
    step = _WIDTH / max(len(values) - 1, 1)
    top = highest or 1.0
    return [f"{step * number:.1f},{_HEIGHT * (1 - min(value / top, 1.0)):.1f}" for number, value in enumerate(values)]
