"""What rests on what, drawn: as Mermaid, or as SVG in layers (Sugiyama: layers, bends, order by neighbours)."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from itertools import pairwise
from statistics import fmean

from albor.contracts import LEVELS, Rule
from albor.contracts.graph import layers

WIDTH, HEIGHT, GAP, BETWEEN, MARGIN = 300, 40, 12, 72, 16
"""Pixels: a box, the gap below it, the space between layers, the space around."""
BEND = 10
"""Height that an edge takes in a layer that it passes through."""
SWEEPS = 8
LONGEST = 44
"""Characters of a title that fit into a box."""
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #57606a } .id { font-weight: 600; fill: #1f2328 }
rect { fill: #f6f8fa; stroke: #8c959f } .level-3 rect { stroke-width: 2 }
.level-4 rect { stroke: #1a7f37; stroke-width: 3 }
path { fill: none; stroke: #8c959f; stroke-width: 1.3; marker-end: url(#head) } polygon { fill: #8c959f }
@media (prefers-color-scheme: dark) {
text { fill: #9da7b3 } .id { fill: #e6edf3 } rect { fill: #161b22; stroke: #6e7681 } .level-4 rect { stroke: #3fb950 }
path { stroke: #6e7681 } polygon { fill: #6e7681 }
}"""
HEAD = '<marker id="head" refX="7" refY="3" markerWidth="7" markerHeight="6"><polygon points="0 0 7 3 0 6"/></marker>'
Bends = tuple[str, str, int]
"""An edge from what is needed to what needs it, in a layer between the two."""
Place = str | Bends


def mermaid(rules: Mapping[str, Rule]) -> str:
    """A flow chart; an arrow leads from a contract to those that need it. Raises AlborError for a cycle."""
    layers(rules)
    lines = ["graph LR"]
    for name, rule in rules.items():
        lines.append(f'  {name}["<b>{name}</b> · {rule.level} {word(rule)}<br>{escape(rule.title)}"]')
    lines += [f"  {needed} --> {name}" for name, rule in rules.items() for needed in rule.needs]
    return "\n".join(lines)


def word(rule: Rule) -> str:
    return LEVELS[rule.level].split(":")[0]


def svg(rules: Mapping[str, Rule]) -> str:
    """The same drawn, with those that stand alone below. Raises AlborError for a cycle."""
    needed = {name for rule in rules.values() for name in rule.needs}
    joined = {name: rule for name, rule in rules.items() if rule.needs or name in needed}
    columns, edges = routed(joined)
    at = {place: (MARGIN + i * (WIDTH + BETWEEN), y) for i, column in enumerate(columns) for place, y in column.items()}
    bottom = max((y + HEIGHT + GAP for _, y in at.values()), default=MARGIN)
    across = max(3, len(columns))
    for i, name in enumerate(name for name in rules if name not in joined):
        row, column = divmod(i, across)
        at[name] = (MARGIN + column * (WIDTH + BETWEEN), bottom + 2 * GAP + row * (HEIGHT + GAP))
    width = max(x for x, _ in at.values()) + WIDTH + MARGIN
    height = max(y for _, y in at.values()) + HEIGHT + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img">',
            f"<title>Contracts, from what is needed to what needs it</title><style>{STYLE}</style>",
            f"<defs>{HEAD}</defs>",
            *(f'<path d="{curve([at[place] for place in edge])}"/>' for edge in edges),
            *(box(rule, *at[name]) for name, rule in rules.items()),
            "</svg>",
        ]
    )


def routed(rules: Mapping[str, Rule]) -> tuple[list[dict[Place, float]], list[list[Place]]]:
    """Each layer's boxes and bends with their heights, and each edge as the places that it visits."""
    order: list[list[Place]] = [list(layer) for layer in layers(rules)]
    depth = {place: i for i, layer in enumerate(order) for place in layer}
    edges: list[list[Place]] = []
    for name, rule in rules.items():
        for needed in rule.needs:
            bends: list[Place] = [(needed, name, i) for i in range(depth[needed] + 1, depth[name])]
            for i, bend in enumerate(bends, start=depth[needed] + 1):
                order[i].append(bend)
            edges.append([needed, *bends, name])
    near: dict[Place, list[Place]] = {place: [] for layer in order for place in layer}
    for edge in edges:
        for a, b in pairwise(edge):
            near[a].append(b)
            near[b].append(a)
    columns = [stacked(layer) for layer in order]
    for sweep in range(SWEEPS):
        for i in range(len(columns)) if sweep % 2 == 0 else reversed(range(len(columns))):
            heights = {place: y for column in columns for place, y in column.items()}
            middle = {place: fmean(heights[n] for n in near[place]) for place in columns[i]}
            columns[i] = stacked(sorted(columns[i], key=middle.__getitem__))
    tallest = max((sum(map(room, column)) for column in columns), default=0)
    for column in columns:
        down = (tallest - sum(map(room, column))) / 2
        column.update({place: y + down for place, y in column.items()})
    return columns, edges


def stacked(layer: list[Place]) -> dict[Place, float]:
    """The upper ends of places one below the other."""
    y, found = float(MARGIN), {}
    for place in layer:
        found[place] = y
        y += room(place)
    return found


def room(place: Place) -> int:
    return HEIGHT + GAP if isinstance(place, str) else BEND + GAP


def curve(points: list[tuple[float, float]]) -> str:
    """From the right side of the first box to the left side of the last, level through each bend."""
    middles = [(x, y + HEIGHT / 2) for x, y in (points[0], points[-1])]
    between = [(x, y + BEND / 2) for x, y in points[1:-1]]
    stops = [middles[0], *between, middles[1]]
    path = f"M{stops[0][0] + WIDTH:.0f} {stops[0][1]:.0f}"
    for (_, before), (x, y) in pairwise(stops):
        turn = x - BETWEEN / 2
        path += f" C{turn:.0f} {before:.0f} {turn:.0f} {y:.0f} {x:.0f} {y:.0f}"
        path += "" if (x, y) == stops[-1] else f" H{x + WIDTH:.0f}"
    return path


def box(rule: Rule, x: float, y: float) -> str:
    title = rule.title if len(rule.title) <= LONGEST else f"{rule.title[: LONGEST - 1].rstrip()}…"
    return (
        f'<g class="level-{rule.level}" transform="translate({x:.0f} {y:.0f})"><title>{escape(rule.title)}</title>'
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="5"/>'
        f'<text class="id" x="10" y="16">{rule.id}</text>'
        f'<text x="{WIDTH - 10}" y="16" text-anchor="end">{rule.level} {word(rule)}</text>'
        f'<text x="10" y="31">{escape(title)}</text></g>'
    )
