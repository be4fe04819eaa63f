"""Drawings as SVG that are read on light and on dark paper: colours are variables, what is drawn has classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

LIGHT = {
    "ink": "#1f2328",
    "soft": "#57606a",
    "rule": "#c4cbd3",
    "pane": "#eef1f4",
    "blue": "#2563c9",
    "orange": "#b8500c",
    "green": "#1a7f37",
    "violet": "#7a44d1",
}
DARK = {
    "ink": "#e6e9ee",
    "soft": "#a3adb9",
    "rule": "#525b67",
    "pane": "#2b313b",
    "blue": "#7ab0ff",
    "orange": "#f3a064",
    "green": "#5fd07a",
    "violet": "#c19bff",
}
COLOURS = ("blue", "orange", "green", "violet", "soft", "ink")
RULES = """text { font: 15px system-ui, sans-serif; fill: var(--ink) }
.small { font-size: 13px } .soft { fill: var(--soft) } .bold { font-weight: 600 }
.mono { font-family: ui-monospace, Menlo, Consolas, monospace }
.rule { stroke: var(--rule); fill: none } .pane { fill: var(--pane); stroke: var(--rule) }
.dashed { stroke-dasharray: 5 4 }
""" + "\n".join(
    f"text.{c}, .dot.{c} {{ fill: var(--{c}) }} .line.{c} {{ stroke: var(--{c}); fill: none; stroke-width: 2.2 }} "
    f".box.{c} {{ stroke: var(--{c}); fill: var(--{c}); fill-opacity: .2 }} .full.{c} {{ fill: var(--{c}) }}"
    for c in COLOURS
)


def variables(colours: dict[str, str]) -> str:
    return "; ".join(f"--{name}: {value}" for name, value in colours.items())


def style() -> str:
    """Of a file that stands alone: the system says whether paper is dark."""
    dark = f"@media (prefers-color-scheme: dark) {{ svg {{ {variables(DARK)} }} }}"
    return f"svg {{ {variables(LIGHT)} }}\n{dark}\n{RULES}"


def n(value: float) -> str:
    """A coordinate, to a tenth."""
    return (
        f"{value:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}".removesuffix(".0")
    )


class Drawing:
    """What is drawn, in the order in which it is."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.width, self.height, self.title = width, height, title
        self.parts: list[str] = []

    def rect(self, x: float, y: float, width: float, height: float, classes: str, *, round_: float = 3) -> None:
        self.parts.append(
            f'<rect class="{classes}" x="{n(x)}" y="{n(y)}" width="{n(width)}" height="{n(height)}" rx="{n(round_)}"/>'
        )

    def text(self, x: float, y: float, words: str, classes: str = "", *, at: str = "middle") -> None:
        anchor = "" if at == "start" else f' text-anchor="{at}"'
        named = f' class="{classes}"' if classes else ""
        self.parts.append(f'<text x="{n(x)}" y="{n(y)}"{named}{anchor}>{escape(words, quote=False)}</text>')

    def line(self, points: Sequence[tuple[float, float]], classes: str = "rule") -> None:
        path = " L".join(f"{n(x)} {n(y)}" for x, y in points)
        self.parts.append(f'<path class="{classes}" d="M{path}"/>')

    def dot(self, x: float, y: float, classes: str, radius: float = 4) -> None:
        self.parts.append(f'<circle class="dot {classes}" cx="{n(x)}" cy="{n(y)}" r="{n(radius)}"/>')

    def arrow(self, x0: float, y0: float, x1: float, y1: float, colour: str = "soft", *, dashed: bool = False) -> None:
        """A straight arrow; its head ends at (x1, y1)."""
        length = math.hypot(x1 - x0, y1 - y0)
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        bx, by = x1 - 9 * dx, y1 - 9 * dy
        self.line([(x0, y0), (bx, by)], f"line {colour}" + (" dashed" if dashed else ""))
        corners = [(x1, y1), (bx - 4.5 * dy, by + 4.5 * dx), (bx + 4.5 * dy, by - 4.5 * dx)]
        points = " ".join(f"{n(x)},{n(y)}" for x, y in corners)
        self.parts.append(f'<polygon class="full {colour}" points="{points}"/>')

    def boxed(self, x: float, y: float, width: float, height: float, words: str, classes: str, text: str = "") -> None:
        """A box with words in its middle."""
        self.rect(x, y, width, height, classes)
        self.text(x + width / 2, y + height / 2 + 5, words, text)

    def axes(self, x: float, y: float, width: float, height: float, across: str, up: str) -> None:
        """Two axes whose corner is the lower left (x, y + height), with their names."""
        self.line([(x, y), (x, y + height), (x + width, y + height)])
        self.text(x + width, y + height + 32, across, "small soft", at="end")
        self.text(x + 6, y - 8, up, "small soft", at="start")

    def body(self) -> str:
        return "\n".join(self.parts)

    def svg(self) -> str:
        """The file."""
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {self.width} {self.height}" role="img">\n'
            f"<title>{escape(self.title)}</title>\n<style>\n{style()}\n</style>\n{self.body()}\n</svg>\n"
        )
