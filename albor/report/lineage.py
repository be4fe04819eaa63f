"""The lineage as a layered graph: sources at the left, this run at the right, long edges led around the boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from albor.report.formats import ABSENT, duration, fact, size
from albor.report.made import counts
from albor.report.model import Ancestor, Scalar
from albor.report.shell import environment, written
from albor.runs.lineage import Artifact

WIDTH, HEIGHT, GAP_X, GAP_Y, PAD = 192, 96, 50, 20, 4


@dataclass(frozen=True)
class Box:
    """One drawn run; ``x`` and ``y`` are its upper left corner."""

    x: float
    y: float
    stage: str
    name: str
    sha: str
    time: str
    lines: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    current: bool
    state: str
    """done, gone, given, …: how it is drawn where these are told apart."""


@dataclass(frozen=True)
class Graph:
    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[str, ...]
    """SVG path data."""
    box_width: int = WIDTH
    box_height: int = HEIGHT


def svg(found: Sequence[Ancestor], root: str) -> str:
    """A lineage as a picture that needs nothing else; what it holds is shown as text, whatever it is."""
    graph = draw(found, root)
    page = environment().get_template("lineage.svg.j2")
    return written(page.render(graph=graph, title=f"The lineage of {root}"))


def ancestors(found: Sequence[Artifact]) -> list[Ancestor]:
    """A lineage as what is drawn."""
    ids = {artifact.key: drawn_id(artifact) for artifact in found}
    return [
        Ancestor(
            stage=artifact.stage,
            name=artifact.name,
            id=ids[artifact.key],
            sha256=artifact.digest or "",
            seconds=artifact.run.seconds if artifact.run else None,
            facts=glance(artifact),
            inputs=[ids[link.key] for link in artifact.inputs if link.key in ids],
            state=artifact.status,
        )
        for artifact in found
    ]


def drawn_id(artifact: Artifact) -> str:
    """What a picture knows it by: nothing that says where on a machine it lies."""
    return artifact.title if artifact.run is not None else f"{artifact.title} {artifact.id}"


def glance(artifact: Artifact) -> dict[str, Scalar]:
    """What is written into a box, and what it shows when it is pointed at."""
    taken = {"in all": size(artifact.bytes)} if artifact.bytes is not None else {}
    if artifact.run is not None and artifact.status == "done":
        return taken | counts(artifact.run.facts)
    return {"": artifact.status, **taken, **({"about": artifact.detail} if artifact.detail else {})}


def resolve(ancestors: Sequence[Ancestor]) -> list[list[int]]:
    """For each run the places of its inputs in the list, by id, ``stage/name`` or name; unknown ones are left out."""
    known: dict[str, int] = {}
    for index, run in enumerate(ancestors):
        known.setdefault(run.name, index)
    for index, run in enumerate(ancestors):
        known[f"{run.stage}/{run.name}"] = index
    for index, run in enumerate(ancestors):
        known[run.id] = index
    return [
        list(dict.fromkeys(known[name] for name in run.inputs if name in known and known[name] != index))
        for index, run in enumerate(ancestors)
    ]


def layers(parents: Sequence[Sequence[int]]) -> list[int]:
    """Each node's column: one to the right of its last parent. A cycle (it would be a bug upstream) is cut."""
    depth: dict[int, int] = {}

    def visit(node: int, path: frozenset[int]) -> int:
        if node not in depth:
            above = [visit(parent, path | {node}) for parent in parents[node] if parent not in path]
            depth[node] = 1 + max(above, default=-1)
        return depth[node]

    return [visit(node, frozenset((node,))) for node in range(len(parents))]


def draw(ancestors: Sequence[Ancestor], run_id: str) -> Graph | None:
    """The picture, or ``None`` for an empty lineage."""
    if not ancestors:
        return None
    parents = resolve(ancestors)
    depth = layers(parents)
    columns: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    for node, column in enumerate(depth):
        columns[column].append(node)
    chains = _route(parents, depth, columns)
    place = _order(columns, chains)
    rows = max(len(column) for column in columns)
    height = rows * (HEIGHT + GAP_Y) - GAP_Y + 2 * PAD

    def corner(node: int) -> tuple[float, float]:
        column, row = place[node]
        free = (rows - len(columns[column])) * (HEIGHT + GAP_Y) / 2
        return PAD + column * (WIDTH + GAP_X), PAD + free + row * (HEIGHT + GAP_Y)

    edges = []
    for chain in chains:
        x, y = corner(chain[0])
        path = f"M{x + WIDTH:g} {y + HEIGHT / 2:g}"
        for before, node in pairwise(chain):
            from_y = corner(before)[1]
            x, y = corner(node)
            bend, middle = GAP_X / 2, y + HEIGHT / 2
            path += f"C{x - bend:g} {from_y + HEIGHT / 2:g} {x - bend:g} {middle:g} {x:g} {middle:g}"
            if node != chain[-1]:
                path += f"H{x + WIDTH:g}"
        edges.append(path)
    boxes = tuple(_box(run, corner(node), run.id == run_id) for node, run in enumerate(ancestors))
    return Graph(2 * PAD + len(columns) * (WIDTH + GAP_X) - GAP_X, height, boxes, tuple(edges))


def _route(parents: Sequence[Sequence[int]], depth: Sequence[int], columns: list[list[int]]) -> list[list[int]]:
    """Each edge as the nodes it passes; one that skips columns gets a place (a new node) in each of them."""
    chains, fresh = [], len(parents)
    for child, above in enumerate(parents):
        for parent in above:
            if depth[parent] >= depth[child]:
                continue
            between = range(depth[parent] + 1, depth[child])
            chain = [parent, *range(fresh, fresh + len(between)), child]
            for column, node in zip(between, chain[1:-1], strict=True):
                columns[column].append(node)
            fresh += len(between)
            chains.append(chain)
    return chains


def _order(columns: list[list[int]], chains: Sequence[Sequence[int]]) -> dict[int, tuple[int, int]]:
    """(column, row) of every node: each column sorted by the mean row of its neighbours, so that few edges cross."""
    beside: dict[int, list[int]] = {}
    for chain in chains:
        for a, b in pairwise(chain):
            beside.setdefault(a, []).append(b)
            beside.setdefault(b, []).append(a)
    row = {node: float(index) - len(column) / 2 for column in columns for index, node in enumerate(column)}
    for sweep in range(4):
        for column in columns if sweep % 2 == 0 else reversed(columns):
            column.sort(key=lambda node: _mean([row[other] for other in beside.get(node, [])], row[node]))
            row.update({node: index - len(column) / 2 for index, node in enumerate(column)})
    return {node: (c, r) for c, column in enumerate(columns) for r, node in enumerate(column)}


def _mean(values: Sequence[float], default: float) -> float:
    return sum(values) / len(values) if values else default


def _box(run: Ancestor, corner: tuple[float, float], current: bool) -> Box:
    facts = _facts(run.facts)
    return Box(
        x=corner[0],
        y=corner[1],
        stage=run.stage,
        name=run.name,
        sha=run.sha256 or ABSENT,
        time=duration(run.seconds),
        lines=tuple(_clip(f"{value} {key}") for key, value in facts[:2]),
        facts=(("run", run.id), ("sha256", run.sha256 or ABSENT), ("time", duration(run.seconds)), *facts),
        current=current,
        state=run.state,
    )


def _facts(facts: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((str(key).replace("_", " "), fact(value)) for key, value in facts.items())


def _clip(text: str, length: int = 28) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
