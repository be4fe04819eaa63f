"""The figures of docs/RESULTS.md."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from docs_site.figures.drawing import Drawing

COLOURS = ("blue", "orange", "green", "violet", "ink", "soft")
LEFT, TOP, WIDTH, HEIGHT = 56, 40, 560, 300
Points = Sequence[tuple[float, float]]


def curves(title: str, series: Mapping[str, Points], *, across: str, up: str, top: float) -> Drawing:
    """Lines over a logarithmic axis; what lies above ``top`` is not drawn."""
    rows = math.ceil(len(series) / 2)
    drawing = Drawing(LEFT + WIDTH + 24, TOP + HEIGHT + 48 + 22 * rows, title)
    shown = {name: [(x, y) for x, y in points if x > 0 and y <= top] for name, points in series.items()}
    xs = [x for points in shown.values() for x, _ in points]
    ys = [y for points in shown.values() for _, y in points]
    x0, x1 = math.log(min(xs)), math.log(max(xs))
    y0 = math.floor(min(ys) * 10) / 10

    def place(x: float, y: float) -> tuple[float, float]:
        share = (math.log(x) - x0) / (x1 - x0)
        return LEFT + share * WIDTH, TOP + HEIGHT * (top - y) / (top - y0)

    drawing.axes(LEFT, TOP, WIDTH, HEIGHT, across, up)
    for number in range(round((top - y0) * 10) + 1):
        y = y0 + number / 10
        if number % max(1, round((top - y0) * 10 / 6)) == 0:
            drawing.line([place(math.exp(x0), y), place(math.exp(x1), y)], "rule dashed")
            drawing.text(LEFT - 8, place(math.exp(x0), y)[1] + 5, f"{y:.1f}", "small", at="end")
    for value in ticks(math.exp(x0), math.exp(x1)):
        drawing.text(place(value, top)[0], TOP + HEIGHT + 16, short(value), "small")
    for number, (name, points) in enumerate(shown.items()):
        colour = COLOURS[number % len(COLOURS)]
        drawing.line([place(x, y) for x, y in points], f"line {colour}")
        for x, y in points[-1:]:
            drawing.dot(*place(x, y), colour)
        left, down = LEFT + (number % 2) * WIDTH / 2, TOP + HEIGHT + 56 + 22 * (number // 2)
        drawing.line([(left, down - 5), (left + 20, down - 5)], f"line {colour}")
        drawing.text(left + 28, down, name, "small", at="start")
    return drawing


def ticks(low: float, high: float) -> list[float]:
    """1, 2, 5, 10 … between two numbers."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [m * 10.0**p for p in powers for m in (1, 2, 5) if low <= m * 10.0**p <= high]


def short(value: float) -> str:
    """5M, 1.2B."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:g}"
