"""A ladder on one page, as a Markdown table, or as rows for any other table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from albor.data.provenance import text
from albor.report.formats import duration, number, size
from albor.report.highlight import highlight
from albor.report.lineage import draw
from albor.report.measures import Cell, Measure, known, measures
from albor.report.panels import panels
from albor.report.shell import Tile, document, one_line
from albor.report.trajectory import Trajectory

TILES = 6
"""Beside the first: what fits on a line."""


@dataclass(frozen=True)
class Sample:
    """One prompt and what rungs, or runs, made of it."""

    prompt: Markup
    completions: Sequence[tuple[str, Markup]]
    """(name, completion)."""
    without: Sequence[str]


def render(trajectory: Trajectory) -> str:
    """The ladder as one HTML document: no external asset, no network; whatever the data holds is shown as text."""
    found = measures(trajectory)
    names = [rung.name for rung in trajectory.rungs]
    hero, figures = _tiles(trajectory, found)
    return document(
        "trajectory.html.j2",
        styles=("parts.css", "trajectory.css"),
        scripts=("parts.js", "ready.js"),
        trajectory=trajectory,
        hero=hero,
        figures=figures,
        measures=found,
        rows=list(zip(trajectory.rungs, zip(*(measure.cells() for measure in found), strict=True), strict=True)),
        panels=panels(found, names) if names else [],
        missing=[measure.name for measure in found if measure.drawn and not measure.values],
        samples=side_by_side(names, trajectory.samples),
        graph=draw(trajectory.lineage, trajectory.run_id),
    )


def plain(cell: Cell) -> str:
    """``10.4 (5.9–15.8) *``, the asterisk at the best of a column."""
    interval = f" ({cell.interval})" if cell.interval else ""
    return f"{cell.text}{interval}{f' {cell.detail}' if cell.detail else ''}{' *' if cell.best else ''}"


def table_rows(trajectory: Trajectory, mark: Callable[[Cell], str] = plain) -> list[list[str]]:
    """The head, then a row for each rung, as one-line text: what it is, how it was made, and its measures."""
    found = measures(trajectory)
    head = ["rung", "how", *(f"{measure.name}{f', {measure.unit}' if measure.unit else ''}" for measure in found)]
    columns = [[mark(cell) for cell in measure.cells()] for measure in found]
    rows = [[rung.name, rung.how, *cells] for rung, *cells in zip(trajectory.rungs, *columns, strict=True)]
    return [[one_line(entry) for entry in row] for row in (head, *rows)]


def markdown(trajectory: Trajectory) -> str:
    """The page's table for GitHub, and a sentence on how to read it."""

    def mark(cell: Cell) -> str:
        value = f"**{text(cell.text)}**" if cell.best else text(cell.text)
        notes = [f"({cell.interval})" if cell.interval else "", text(cell.detail)]
        change = f"<sub>{cell.change}</sub>" if cell.change else ""
        return " ".join(filter(None, (value, *notes, change)))

    head, *rows = table_rows(trajectory, mark)
    lines = [
        [text(entry) for entry in head],
        ["---", "---", *["--:"] * (len(head) - 2)],
        *([text(name), text(how), *cells] for name, how, *cells in rows),
    ]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    device = f" Times per token on {text(one_line(trajectory.device))}." if trajectory.device else ""
    legend = (
        "Bold is the best of a column, in brackets is the 95% interval, small is the change against the rung before."
    )
    return f"{table}\n\n{legend}{device}\n"


def side_by_side(order: Sequence[str], said: Mapping[str, Sequence[tuple[str, str]]]) -> list[Sample]:
    """Completions by prompt, those of one in the given order; a prompt that somebody completes twice is there twice."""
    names = dict.fromkeys([*(name for name in order if name in said), *said])
    grouped: dict[tuple[str, int], dict[str, str]] = {}
    for name in names:
        seen: Counter[str] = Counter()
        for prompt, completion in said[name]:
            grouped.setdefault((prompt, seen[prompt]), {})[name] = completion
            seen[prompt] += 1
    return [
        Sample(
            prompt=highlight(prompt, "")[0],
            completions=[(name, highlight(prompt, completion)[1]) for name, completion in by_name.items()],
            without=[name for name in order if name not in by_name],
        )
        for (prompt, _), by_name in grouped.items()
    ]


def _tiles(trajectory: Trajectory, found: Sequence[Measure]) -> tuple[Tile, list[Tile]]:
    """The last rung against the first: how much smaller, and what became of the rest."""
    seconds = [rung.seconds for rung in trajectory.rungs if known(rung.seconds)]
    took = [Tile("run time", duration(sum(seconds)), _runs(len(seconds), len(trajectory.rungs)))] if seconds else []
    if len(trajectory.rungs) < 2:
        return Tile("rungs", str(len(trajectory.rungs)), "a ladder compares two or more"), took
    first, last = trajectory.rungs[0], trajectory.rungs[-1]
    tiles = []
    for measure in found:
        before, *_, after = measure.cells()
        if measure.drawn and measure.title != "Weights" and after.measured:
            unit = "%" if measure.in_points else f" {measure.unit}" if measure.unit else ""
            was = f"{before.text}{unit} at {first.name}" if before.measured else ""
            label = measure.title if measure.metric else measure.title.lower()
            tiles.append(Tile(label, f"{after.text}{unit}", ", ".join(filter(None, (measure.metric, was)))))
    return _hero(first.name, last.name, first.bytes, last.bytes), [*tiles[: TILES - len(took)], *took]


def _hero(first: str, last: str, before: int | None, after: int | None) -> Tile:
    label = f"{first} to {last}"
    if not before or not after:
        return Tile(label, "–", "size not measured")
    times, sizes = before / after, f"{size(before)} to {size(after)}"
    if times == 1:
        return Tile(label, "same size", sizes)
    return Tile(label, f"{number(max(times, 1 / times), 2)}×", f"{'smaller' if times > 1 else 'larger'}, {sizes}")


def _runs(timed: int, rungs: int) -> str:
    return f"of {timed} rungs" if timed == rungs else f"of {timed} of {rungs} rungs"
