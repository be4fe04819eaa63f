"""Small multiples as numbers for SVG: across in percent, so that a panel stretches and its text does not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from albor.report.formats import BYTES, number
from albor.report.measures import Cell, Measure, known

TOP, BOTTOM, FOOT = 30, 150, 22
"""Pixels: the highest mark, the base line, what names of rungs need below it."""
FROM_ZERO = 0.6
"""Values that all lie above this share of the largest are looked at closer; others from zero. Bars always from zero."""
IN_A_ROW = 3


@dataclass(frozen=True)
class Mark:
    """One rung: ``x`` is its middle in percent; the others are pixels from the top, None where not drawn."""

    x: float
    name: str
    label: str
    label_y: float
    told: str
    """The rung and its value in words."""
    y: float | None = None
    low: float | None = None
    high: float | None = None
    floor: float | None = None
    best: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Panel:
    title: str
    unit: str
    bars: bool
    bottom: int
    """Where the axis lies."""
    marks: Sequence[Mark]
    links: Sequence[tuple[Mark, Mark]]
    """Neighbours that are both drawn."""
    slot: float
    """Width of a rung, in percent."""
    bar: float
    base: bool
    """Whether the base line is zero."""
    floor: str
    unlike: str
    """What the values depend on beside the rungs, where that differs."""
    height: int
    summary: str
    span: int = 1
    """Of six columns."""


def panels(found: Sequence[Measure], names: Sequence[str]) -> list[Panel]:
    """A panel for each drawn measure that has a value, in rows of at most three and of about the same number."""
    drawn = [measure for measure in found if measure.drawn and measure.values]
    rows = math.ceil(len(drawn) / IN_A_ROW) or 1
    spans = [6 // n for row in range(rows) for n in [(len(drawn) + rows - 1 - row) // rows] for _ in range(n)]
    return [_panel(measure, names, span) for measure, span in zip(drawn, spans, strict=True)]


def _panel(measure: Measure, names: Sequence[str], span: int) -> Panel:
    unit, write = _scaled(measure)
    low, high = _domain(measure)
    slot = 100 / len(names)
    cells = measure.cells()
    details = any(cell.detail for cell in cells)

    def place(value: float | None) -> float | None:
        return round(BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low), 1) if known(value) else None

    marks = []
    for i, (name, reading, cell) in enumerate(zip(names, measure.readings, cells, strict=True)):
        y, ends = place(reading.value), reading.interval
        tip = place(ends[1]) if ends and y is not None else y
        marks.append(
            Mark(
                x=round(slot * (i + 0.5), 3),
                name=clipped(name, len(names)),
                label=write(reading.value) if known(reading.value) else cell.text,
                label_y=(BOTTOM if tip is None else tip) - 9,
                told=f"{name}: {_told(cell)}",
                y=y,
                low=place(ends[0]) if ends and y is not None else None,
                high=tip if ends else None,
                floor=place(reading.floor),
                best=cell.best,
                detail=clipped(cell.detail, len(names)),
            )
        )
    floors = "–".join(dict.fromkeys(map(measure.write, measure.floors[:: max(1, len(measure.floors) - 1)])))
    return Panel(
        title=measure.title,
        unit=", ".join(filter(None, (measure.metric, unit, measure.direction))),
        bars=measure.drawn == "bars",
        bottom=BOTTOM,
        marks=marks,
        links=[(a, b) for a, b in pairwise(marks) if a.y is not None and b.y is not None],
        slot=round(slot, 3),
        bar=round(min(0.6 * slot, 14), 3),
        base=low == 0,
        floor=floors,
        unlike=" and ".join(measure.details) if len(measure.details) > 1 else "",
        height=BOTTOM + FOOT * (2 if details else 1) - (6 if details else 0),
        summary="; ".join(mark.told for mark in marks),
        span=span,
    )


def _told(cell: Cell) -> str:
    interval = f"95% interval {cell.interval}" if cell.interval else ""
    return ", ".join(filter(None, (cell.text, interval, cell.detail, "best" if cell.best else "")))


def _domain(measure: Measure) -> tuple[float, float]:
    """From zero, unless the values are dots that lie close together."""
    ends = [end for reading in measure.readings if reading.interval for end in reading.interval]
    all_of_them = [*measure.values, *ends, *measure.floors]
    low, high = min(all_of_them), max(all_of_them)
    if measure.drawn == "bars" or low <= FROM_ZERO * high:  # equal where all are zero
        return min(0.0, low), high if high > 0 else 1.0
    room = (high - low) * 0.25 or abs(high) * 0.1 or 1.0
    return low - room, high


def _scaled(measure: Measure) -> tuple[str, Callable[[float], str]]:
    """(unit, how a mark's value is written): sizes share the unit of the largest, so that labels are short."""
    if measure.title != "Weights":
        return measure.unit, measure.write
    for unit, name in BYTES:
        if max(measure.values) >= unit:
            return name, lambda value, unit=unit: number(value / unit, 3)
    return "B", lambda value: number(int(value))


def clipped(name: str, rungs: int) -> str:
    """What fits under a mark where the panel is narrowest."""
    length = max(3, 52 // rungs)
    return name if len(name) <= length else name[: length - 1] + "…"
