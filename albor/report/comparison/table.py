"""The table of a comparison: a row for each config; for a terminal, for GitHub, for the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from albor.data.provenance import text as escaped
from albor.report.comparison.figures import Figure, Stat, stat, text
from albor.report.comparison.grouping import shown
from albor.report.comparison.model import DONE, Group, Pairing
from albor.report.comparison.ranking import Verdict
from albor.report.comparison.whole import Comparison
from albor.report.comparison.words import p_text
from albor.report.formats import ABSENT
from albor.report.measures import known, signed
from albor.report.shell import one_line

COLUMNS = 5
"""Figures in a terminal's table."""
DIFFERENCES = 60
"""Rows of a table of differences in Markdown."""
SIDE_BY_SIDE = 6
"""Configs that such a table shows in columns of their own."""


@dataclass(frozen=True)
class Row:
    """One config."""

    group: Group
    rank: int | None
    """1 is the best."""
    cells: Sequence[tuple[Figure, Stat]]
    verdict: Verdict
    reference: bool

    @property
    def status(self) -> str:
        """Empty where every run of it is done."""
        counts = Counter(entry.status for entry in self.group.entries)
        if set(counts) == {DONE}:
            return ""
        return ", ".join(
            f"{count} {status}" if len(self.group.entries) > 1 else status for status, count in counts.items()
        )

    @property
    def reached(self) -> str:
        """How far runs that are not done came."""
        steps = [
            (e.columns.steps[-1], e.planned_steps)
            for e in self.group.counted
            if e.status != DONE and len(e.columns.steps)
        ]
        if not steps:
            return ""
        step, planned = max(steps)
        return f"step {step:,.0f}" + (f" of {planned:,}" if planned else "")


def rows(comparison: Comparison) -> list[Row]:
    ranking = comparison.ranking
    places = {place: number for number, place in enumerate(ranking.order, 1)}
    return [
        Row(
            group=comparison.groups[place],
            rank=places.get(place),
            cells=[(figure, stat(figure, comparison.groups[place])) for figure in comparison.figures],
            verdict=ranking.verdicts[place],
            reference=place == ranking.reference,
        )
        for place in comparison.order
    ]


def against(comparison: Comparison, row: Row) -> str:
    """``+0.052 (+0.031 to +0.073), p = 0.004``."""
    figure, verdict = comparison.ranking.figure, row.verdict
    if figure is None or verdict.difference is None:
        return verdict.reason
    told = signed(verdict.difference, 4)
    if verdict.test is None or verdict.p is None:
        return f"{told}, {verdict.reason}"
    ends = f"{signed(verdict.test.low, 4)} to {signed(verdict.test.high, 4)}"
    return f"{told} ({ends}), {p_text(verdict.p)}{' *' if verdict.significant else ''}"


def best(comparison: Comparison, figure: Figure) -> str | None:
    """The text of a column's best value, where the ranking lets that be said: one of the figures that it is by."""
    if not figure.better or comparison.ranking.figure is None or len(comparison.ranking.order) < 2:
        return None
    ranked = figure.key == comparison.ranking.figure.key
    if not ranked and figure.unit != "%":
        return None
    means = [mean for place in comparison.ranking.order if known(mean := stat(figure, comparison.groups[place]).mean)]
    if len(set(means)) < 2:
        return None
    return figure.write(max(means) if figure.better > 0 else min(means))


def plain(comparison: Comparison) -> list[list[str]]:
    """The head and a row for each config, as one-line text for a terminal."""
    told = comparison.figures[:COLUMNS]
    reference = "against the reference" if len(comparison.groups) > 1 else ""
    head = ["config", "runs", *map(_titled, told), reference]
    lines = [head]
    for row in rows(comparison):
        cells = [text(figure, found) or ABSENT for figure, found in row.cells[: len(told)]]
        count = f"{len(row.group.entries)}{f' ({row.status})' if row.status else ''}"
        lines.append([row.group.label, count, *cells, against(comparison, row) if reference else ""])
    return [[one_line(cell) for cell in line] for line in lines]


def _titled(figure: Figure) -> str:
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def markdown(comparison: Comparison) -> str:
    """The comparison for a pull request on GitHub."""
    parts = [
        f"### {_md(comparison.title)}",
        _md(comparison.headline),
        _finals(comparison),
        *_differences(comparison),
        *_pairings(comparison),
        *(["\n".join(f"- {_md(warning)}" for warning in comparison.warnings)] if comparison.warnings else []),
        _fenced(comparison.command),
    ]
    return "\n\n".join(parts) + "\n"


def _finals(comparison: Comparison) -> str:
    head = ["config", "runs", *map(_titled, comparison.figures)]
    several = len(comparison.groups) > 1
    head += ["against the reference"] if several else []
    lines = []
    for row in rows(comparison):
        label = f"**{_md(row.group.label)}**" if row.rank == 1 and several else _md(row.group.label)
        notes = ", ".join(filter(None, (row.status, row.reached)))
        count = f"{len(row.group.entries)}{f' ({notes})' if notes else ''}"
        cells = []
        for figure, found in row.cells:
            cell = _md(text(figure, found) or ABSENT)
            top = found.mean is not None and figure.write(found.mean) == best(comparison, figure)
            cells.append(f"**{cell}**" if top else cell)
        lines.append([label, _md(count), *cells, *([_md(against(comparison, row))] if several else [])])
    legend = "± is the standard deviation over seeds; * a difference with p < 0.05, adjusted for their number (Holm)."
    return _table([_md(name) for name in head], lines, right=len(head) - 2) + (f"\n\n{legend}" if several else "")


def _differences(comparison: Comparison) -> list[str]:
    keys = list(comparison.keys)
    if not keys:
        return []
    labels = [_md(group.label) for group in comparison.groups]
    lines = []
    for key in keys[:DIFFERENCES]:
        if len(labels) <= SIDE_BY_SIDE:
            lines.append([_md(key), *map(_md, by_group(comparison, key))])
        else:
            distinct = every(comparison, key)
            listed = ", ".join(distinct[:SIDE_BY_SIDE]) + (" …" if len(distinct) > SIDE_BY_SIDE else "")
            lines.append([_md(key), f"{len(distinct):,}", _md(listed)])
    head = ["key", *labels] if len(labels) <= SIDE_BY_SIDE else ["key", "values", "which"]
    more = f"\n\nand {len(keys) - DIFFERENCES} more keys" if len(keys) > DIFFERENCES else ""
    return [
        f"<details><summary>What differs: {len(keys):,} key{'s' if len(keys) > 1 else ''}</summary>\n\n"
        f"{_table(head, lines)}{more}\n\n</details>"
    ]


def by_group(comparison: Comparison, key: str) -> list[str]:
    """What each config has for a key; of a seed, all that its runs have."""
    groups = comparison.groups
    return [", ".join(dict.fromkeys(shown(entry.settings, key) for entry in group.entries)) for group in groups]


def every(comparison: Comparison, key: str) -> list[str]:
    """The values of a key over all runs, each once."""
    return list(dict.fromkeys(shown(entry.settings, key) for entry in comparison.entries))


def _pairings(comparison: Comparison) -> list[str]:
    if not comparison.pairings:
        return []
    lines = [
        [_md(p.group), _md(p.against), _md(p.task), f"{p.count:,}", _md(spread(p)), p_text(p.p)]
        for p in comparison.pairings
    ]
    head = ["config", "against", "task", "problems or rows", "difference (95%)", "sign-flip test"]
    return ["Evaluations, problem by problem and row by row:", _table(head, lines)]


def spread(pairing: Pairing) -> str:
    """The difference with its interval and unit."""
    digits = 1 if pairing.unit == "%" else 4
    ends = " to ".join(signed(end, digits) for end in (pairing.low, pairing.high))
    return f"{signed(pairing.difference, digits)} ({ends}) {pairing.unit}"


def _table(head: Sequence[str], lines: Sequence[Sequence[str]], right: int = 0) -> str:
    rule = ["---", *(["--:"] * min(right, len(head) - 1)), *(["---"] * (len(head) - 1 - right))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule[: len(head)], *lines))


def _md(value: str) -> str:
    return escaped(one_line(value))


def _fenced(command: str) -> str:
    """A block of code whose fence the command cannot end."""
    line = one_line(command)
    longest = max((len(run) for run in "".join(c if c == "`" else " " for c in line).split()), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{line}\n{fence}"
