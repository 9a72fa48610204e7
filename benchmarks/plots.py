"""Plots as SVG, made of nothing but their figures: the same figures give the same bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise

import attrs

_FONT = "font-family=\"-apple-system, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif\""
_LABEL_GAP = 17.0
_TICKS = 50
"""The width of the values beside a panel."""
_SHAPES = (
    "M-4,-4H4V4H-4Z",
    "M0,-5.5L5.5,4.5H-5.5Z",
    "M0,-5.5L5.5,0L0,5.5L-5.5,0Z",
    "M0,5.5L5.5,-4.5H-5.5Z",
    "M-5,-1.5H-1.5V-5H1.5V-1.5H5V1.5H1.5V5H-1.5V1.5H-5Z",
    "M-4.5,0A4.5,4.5 0 1 0 4.5,0A4.5,4.5 0 1 0 -4.5,0Z",
)


@attrs.frozen
class Theme:
    """
    Colours of a page.

    Attributes:
        name: How the file is called for it.
        paper: The background.
        ink: Text.
        faint: Axes and their text.
        grid: Lines behind the plot.
        lines: Of the series, in their order; text in them can be read on the background.
    """

    name: str
    paper: str
    ink: str
    faint: str
    grid: str
    lines: tuple[str, ...]


THEMES = (
    Theme(
        "light", "#ffffff", "#1f2328", "#59636e", "#e4e8ec",
        ("#c2410c", "#0b65b0", "#00795a", "#a23b7b", "#7a5c00", "#5b6470"),
    ),
    Theme(
        "dark", "#0d1117", "#f0f6fc", "#9198a1", "#262c36",
        ("#ff8a4c", "#58a6ff", "#35c99b", "#e58cc5", "#d9b63a", "#9da7b3"),
    ),
)  # fmt: skip


@attrs.frozen
class Series:
    """
    A line.

    Attributes:
        label: What stands at its end.
        points: Both above 0.
        is_bold: Whether it is what the plot is about.
    """

    label: str
    points: Sequence[tuple[float, float]]
    is_bold: bool = True


@attrs.frozen
class Panel:
    """
    One pair of axes, both logarithmic.

    Attributes:
        title: What is counted.
        x_title: What is below.
        series: The lines, at most as many as a theme has colours.
        x_ticks: The values that are named below.
    """

    title: str
    x_title: str
    series: Sequence[Series]
    x_ticks: Sequence[float]


@attrs.frozen
class _Scale:
    """Where values lie on a logarithmic axis that runs from *start* to *stop* pixels."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.start + share * (self.stop - self.start)


def ticks(low: float, high: float) -> list[float]:
    """Return the values to name on a logarithmic axis: powers of ten, with 2 and 5 between where they are few."""
    steps = (1, 2, 5) if high / low < 500 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [step * 10.0**power for power in powers for step in steps]
    return [value for value in found if low * 0.999 <= value <= high * 1.001]


def spread(places: Sequence[float], low: float, high: float) -> list[float]:
    """Return *places* moved as little as it takes for labels not to overlap, between *low* and *high*."""
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    for before, this in pairwise(order):
        moved[this] = max(moved[this], moved[before] + _LABEL_GAP)
    limit = high
    for this in reversed(order):
        moved[this] = max(low, min(moved[this], limit))
        limit = moved[this] - _LABEL_GAP
    return moved


def number(value: float) -> str:
    """Return *value* as people write it: 3,200, 45, 0.12."""
    if value >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.2g}" if value < 10 else f"{value:.0f}"


def draw(theme: Theme, title: str, panels: Sequence[Panel], *, width: int, height: int, margin: int) -> str:
    """
    Return the SVG of *panels* side by side.

    Args:
        theme: Its colours.
        title: Read aloud by screen readers, and shown above.
        panels: One or more.
        width: In pixels.
        height: In pixels.
        margin: Pixels to the right of each panel, for the labels at the ends of lines.
    """
    shape = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {shape} role="img" aria-label="{escape(title)}" {_FONT}>',
        f'<rect width="{width}" height="{height}" fill="{theme.paper}"/>',
        f'<text x="16" y="26" font-size="15" font-weight="600" fill="{theme.ink}">{escape(title)}</text>',
    ]
    share = (width - 16) / len(panels)
    for place, panel in enumerate(panels):
        left = 16 + place * share
        lines += _panel(theme, panel, (left + _TICKS, left + share - margin), (height - 50.0, 62.0))
    return "\n".join([*lines, "</svg>\n"])


def _panel(theme: Theme, panel: Panel, across: tuple[float, float], up: tuple[float, float]) -> Iterator[str]:
    values = [value for series in panel.series for _, value in series.points]
    x_scale = _Scale(min(panel.x_ticks) * 0.8, max(panel.x_ticks) * 1.25, *across)
    y_scale = _Scale(min(values) * 0.75, max(values) * 1.35, *up)
    left, right = across
    bottom, top = up
    yield _text(left - _TICKS, top - 14, panel.title, theme.faint)
    for value in ticks(y_scale.low, y_scale.high):
        y = y_scale(value)
        yield f'<path d="M{left:.1f},{y:.1f}H{right:.1f}" stroke="{theme.grid}"/>'
        yield _text(left - 6, y + 4, number(value), theme.faint, anchor="end", size=12)
    yield f'<path d="M{left:.1f},{bottom:.1f}H{right:.1f}" stroke="{theme.faint}"/>'
    for value in panel.x_ticks:
        x = x_scale(value)
        yield f'<path d="M{x:.1f},{bottom:.1f}v5" stroke="{theme.faint}"/>'
        label = f"{value / 1_000:g}k" if value >= 10_000 else f"{value:,.0f}"
        yield _text(x, bottom + 19, label, theme.faint, anchor="middle", size=12)
    yield _text((left + right) / 2, bottom + 38, panel.x_title, theme.faint, anchor="middle")
    labels = spread([y_scale(series.points[-1][1]) for series in panel.series], top, bottom)
    # What the plot is about lies on top.
    for place, series in reversed(list(enumerate(panel.series))):
        at = [(x_scale(x), y_scale(y)) for x, y in series.points]
        yield from _line(series, at, theme.lines[place], _SHAPES[place], (right + 12, labels[place]))


def _line(
    series: Series, at: Sequence[tuple[float, float]], colour: str, shape: str, label: tuple[float, float]
) -> Iterator[str]:
    """Yield a line with its marks, and its label, which a thin line leads to."""
    path = "L".join(f"{x:.1f},{y:.1f}" for x, y in at)
    stroke = 'stroke-width="3"' if series.is_bold else 'stroke-width="1.5"'
    yield f'<path d="M{path}" fill="none" stroke="{colour}" {stroke} stroke-linejoin="round"/>'
    for x, y in at:
        yield f'<path d="{shape}" transform="translate({x:.1f},{y:.1f})" fill="{colour}"/>'
    (x, y), (label_x, label_y) = at[-1], label
    lead = f"M{x + 7:.1f},{y:.1f}L{label_x - 4:.1f},{label_y:.1f}"
    yield f'<path d="{lead}" stroke="{colour}" stroke-width="0.75" stroke-dasharray="2 2"/>'
    yield _text(label_x, label_y + 4, series.label, colour, is_bold=series.is_bold)


def _text(
    x: float, y: float, text: str, colour: str, *, anchor: str = "start", size: int = 13, is_bold: bool = False
) -> str:
    weight = ' font-weight="600"' if is_bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" font-size="{size}" text-anchor="{anchor}"{weight}>'
        f"{escape(text)}</text>"
    )
