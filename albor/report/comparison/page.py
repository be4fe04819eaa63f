"""The page of a comparison: curves, finals, differences, rungs, samples and runs in one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from albor.report.comparison.figures import Figure, Stat, stat, text
from albor.report.comparison.grouping import short_names, shown
from albor.report.comparison.model import Entry, Pairing
from albor.report.comparison.payload import TITLES, chart_keys, payload
from albor.report.comparison.table import Row, against, best, by_group, every, rows, spread
from albor.report.comparison.whole import Comparison
from albor.report.comparison.words import p_text
from albor.report.formats import duration, number, short
from albor.report.measures import known
from albor.report.shell import Tile, document, embed
from albor.report.trajectory_page import Sample, side_by_side

STATUSES = ("done", "failed", "interrupted", "running")
LEGEND = 8
"""Differing keys that the legend has a column for."""
COLUMNS = 8
"""Configs that the table of differences shows in columns of their own."""
SAMPLED = 8
"""Configs whose samples are shown."""
ALERTS = 5
SCRIPTS = ("series.js", "plot.js", "runs.js", "view.js", "overlay.js", "table.js", "compare.js", "parts.js", "ready.js")
FALLING = ("val_loss", "loss", "val_ppl", "val_bits_per_byte")
"""Series whose first values are far above all that matters: their charts are fitted to the rest."""
LOGARITHMIC = ("val_ppl",)
"""Series that fall by orders of magnitude."""


@dataclass(frozen=True)
class Cell:
    text: str
    found: Stat
    best: bool


def render(comparison: Comparison) -> str:
    """The comparison as one HTML document: no external asset, no network, and no script but its own. Whatever the data
    holds is shown as text."""
    keys, left_out = chart_keys(comparison.entries)
    hero, *figures = _tiles(comparison)
    csv_figures, csv_against = _csv(comparison)
    drawn = payload(comparison)
    table = rows(comparison)
    several = len(comparison.groups) > 1
    return document(
        "compare.html.j2",
        styles=("parts.css", "charts.css", "compare.css"),
        scripts=SCRIPTS,
        comparison=comparison,
        hero=hero,
        figures=figures,
        charts=[(key, *TITLES.get(key, (key.replace("_", " "), ""))) for key in keys],
        left_out=left_out,
        focused=FALLING,
        logarithmic=LOGARITHMIC,
        rung_charts=drawn["rungs"]["charts"],
        legend=_legend(comparison),
        places={entry.id: place for place, entry in enumerate(comparison.entries)},
        legend_keys=_legend_keys(comparison),
        seeded=any(len(group.entries) > 1 for group in comparison.groups),
        table=[(row, _cells(comparison, row), against(comparison, row) if several else "") for row in table],
        several=several,
        csv_figures=csv_figures,
        csv_against=csv_against,
        differences=_differences(comparison),
        columns=[group.label for group in comparison.groups] if len(comparison.groups) <= COLUMNS else [],
        common=list(comparison.common.items()),
        pairings=[(pairing, spread(pairing), p_text(pairing.p), tone(pairing))
                  for pairing in comparison.pairings],
        samples=_samples(comparison),
        status=lambda entry: entry.status if entry.status in STATUSES else "other",
        alerts=lambda entry: (entry.columns.alerts[:ALERTS], len(entry.columns.alerts)),
        reached=_reached,
        data=embed(drawn),
    )  # fmt: skip


def tone(pairing: Pairing) -> str:
    """better or worse, where the interval leaves no doubt."""
    if pairing.low <= 0 <= pairing.high:
        return ""
    return "better" if pairing.difference * pairing.better > 0 else "worse"


def _tiles(comparison: Comparison) -> list[Tile]:
    """The first one is large: what is best, where that can be said."""
    figure, order = comparison.ranking.figure, comparison.ranking.order
    if figure is None:
        return _totals(comparison)
    group = comparison.groups[order[0]]
    return [Tile(f"lowest {figure.title}", text(figure, stat(figure, group)), group.label), *_totals(comparison)]


def _totals(comparison: Comparison) -> list[Tile]:
    entries = comparison.entries
    by_key = {figure.key: figure for figure in comparison.figures}
    seeds = {entry.seed for entry in entries}
    done = sum(entry.status == "done" for entry in entries)
    tiles = [
        Tile("runs", str(len(entries)), "all done" if done == len(entries) else f"{done} done"),
        Tile("configs", str(len(comparison.groups)), f"{len(seeds)} seed{'s' if len(seeds) > 1 else ''}"),
    ]
    for key, label, write in (
        ("tokens", "tokens, all runs", short),
        ("flops", "FLOPs, all runs", number),
        ("seconds", "run time", duration),
    ):
        values = [value for entry in entries if key in by_key and known(value := by_key[key].of(entry))]
        if values:
            total = sum(values)
            tiles.append(
                Tile(label, f"{total:.2g}" if key == "flops" else write(round(total) if key == "tokens" else total))
            )
    return tiles


def _cells(comparison: Comparison, row: Row) -> list[Cell]:
    return [_cell(comparison, figure, found) for figure, found in row.cells]


def _cell(comparison: Comparison, figure: Figure, found: Stat) -> Cell:
    top = found.mean is not None and figure.write(found.mean) == best(comparison, figure)
    return Cell(text(figure, found), found, top)


Columns = list[tuple[str, str]]
"""Of the CSV of a table: (head, attribute of a cell that the value is read from)."""


def _csv(comparison: Comparison) -> tuple[list[Columns], Columns]:
    """(columns of each figure, columns of the difference from the reference)."""
    made = []
    for figure in comparison.figures:
        parts = [("mean", "value"), ("sd", "sd"), ("n", "n")]
        if any(stat(figure, group).interval for group in comparison.groups):
            parts += [("low", "low"), ("high", "high")]
        made.append([(f"{figure.key}_{part}", name) for part, name in parts])
    if (ranked := comparison.ranking.figure) is None:
        return made, []
    parts = [("difference", "value"), ("difference_low", "low"), ("difference_high", "high"), ("p", "p")]
    return made, [(f"{ranked.key}_{part}", name) for part, name in parts]


def _legend_keys(comparison: Comparison) -> list[tuple[str, str]]:
    """(key, its short name) of the differing keys that the legend has room for."""
    short_ones = short_names(comparison.keys)
    return [(key, short_ones[key]) for key in comparison.keys][:LEGEND]


def _legend(comparison: Comparison) -> list[tuple[Entry, str, str, float | None, str, list[str]]]:
    """For each run: its name among these, its value of the ranking's figure (text and number), words to find it by, and
    its values of the legend's keys. Sorted as the table is."""
    figure = comparison.ranking.figure or (comparison.figures[0] if comparison.figures else None)
    keys = [key for key, _ in _legend_keys(comparison)]
    short_ones = short_names(comparison.keys)
    made = []
    for place in comparison.order:
        group = comparison.groups[place]
        for entry in group.entries:
            value = figure.of(entry) if figure else None
            several = len(group.entries) > 1
            name = f"{group.label}, seed {entry.seed}" if several and entry.seed else group.label
            words = [name, entry.name, entry.stage, entry.status]
            words += [f"{at}={shown(entry.settings, key)}" for key in comparison.keys for at in (key, short_ones[key])]
            told = figure.write(value) if figure and known(value) else ""
            values = [shown(entry.settings, key) for key in keys]
            made.append((entry, name, told, value if known(value) else None, " ".join(words).lower(), values))
    return made


def _differences(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """(key, values): of each config, or where there are too many every value once."""
    return [
        (key, by_group(comparison, key) if len(comparison.groups) <= COLUMNS else every(comparison, key))
        for key in comparison.keys
    ]


def _samples(comparison: Comparison) -> list[Sample]:
    told: dict[str, Sequence[tuple[str, str]]] = {}
    for place in comparison.order:
        group = comparison.groups[place]
        given = next((e.evaluation.samples for e in group.entries if e.evaluation and e.evaluation.samples), None)
        if given and len(told) < SAMPLED:
            told[group.label] = given
    return side_by_side(list(told), told)


def _reached(entry: Entry) -> str:
    if not len(entry.columns.steps):
        return ""
    planned = f" of {entry.planned_steps:,}" if entry.planned_steps else ""
    return f"{entry.columns.steps[-1]:,.0f}{planned}"
