"""A comparison, worked out: groups, figures, ranking, and the sentences about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from albor.report.comparison.figures import Figure, figures
from albor.report.comparison.grouping import differing, grouped
from albor.report.comparison.model import Entry, Group, Pairing, Path
from albor.report.comparison.ranking import Ranking, baseline_of, rank
from albor.report.comparison.words import headline, row_by_row, warnings


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the page, the table, Markdown and W&B show."""

    name: str
    title: str
    command: str
    entries: Sequence[Entry]
    groups: Sequence[Group]
    keys: Sequence[str]
    """In which the runs differ; the seed last."""
    figures: Sequence[Figure]
    """What they are ranked by comes first."""
    ranking: Ranking
    headline: str
    warnings: Sequence[str]
    pairings: Sequence[Pairing] = field(default=())
    paths: Sequence[Path] = field(default=())

    @property
    def order(self) -> list[int]:
        """All groups: the ranked ones first, best first, then the others as they came."""
        ranked = list(self.ranking.order)
        return [*ranked, *(place for place in range(len(self.groups)) if place not in ranked)]

    @property
    def common(self) -> Mapping[str, str]:
        """The settings that are the same everywhere."""
        return {key: value for key, value in self.entries[0].settings.items() if key not in self.keys}

    def with_evaluations(self, pairings: Sequence[Pairing], paths: Sequence[Path]) -> Comparison:
        """The comparison with what evaluations say beside their figures."""
        told = self.headline + row_by_row(self.groups, self.ranking, pairings)
        return replace(self, pairings=pairings, paths=paths, headline=told)


def compared(
    entries: Sequence[Entry], *, name: str, command: str, labels: Mapping[str, str], baseline: str | None = None
) -> Comparison:
    """The comparison of one run or more. ``baseline`` is the id of the run that the others are held against instead
    of the best. Raises AlborError when it is not among them."""
    groups = grouped(entries, labels)
    ranking = rank(groups, None if baseline is None else baseline_of(groups, baseline))
    return Comparison(
        name=name,
        title=_title(entries, groups),
        command=command,
        entries=entries,
        groups=groups,
        keys=differing(entries),
        figures=sorted(figures(entries), key=lambda figure: figure is not ranking.figure),
        ranking=ranking,
        headline=headline(groups, ranking),
        warnings=warnings(entries, groups, ranking),
    )


def _title(entries: Sequence[Entry], groups: Sequence[Group]) -> str:
    if len(entries) == 1:
        return f"One run: {entries[0].label}, {entries[0].stage}"
    if len(groups) == len(entries):
        return f"{len(entries)} runs compared"
    return f"{len(entries)} runs of {len(groups)} config{'s' if len(groups) > 1 else ''} compared"
