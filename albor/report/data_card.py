"""The data card: what a packed corpus is made of and what was left out, on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from albor.report.formats import ABSENT, fact, number, short, size
from albor.report.shell import Tile, document

if TYPE_CHECKING:
    from albor.data.card import DataCard, Lengths, SourceRow, StepRow

TOP = 20
"""Bars of a figure; what is left is one more."""
MAX_ROWS = 2_000
"""Packages in the table: beyond that the page is heavy, and the artifact's card.json has them all."""


@dataclass(frozen=True)
class Bar:
    """One bar: ``length`` in percent of the longest; None where many things stand behind one line."""

    name: str
    value: str
    share: str
    length: float | None


@dataclass(frozen=True)
class Chart:
    """Bars of one kind; ``color`` names a CSS custom property."""

    title: str
    unit: str
    bars: list[Bar]
    color: str = "train"


@dataclass(frozen=True)
class Stage:
    """One step of the funnel: what it kept, in percent of what the first step took."""

    name: str
    kept: str
    lost: str
    """The share of its documents that it rejected; empty when it rejected none."""
    kept_share: float
    lost_share: float
    bytes_share: float
    size: str
    reasons: list[tuple[str, str]]


@dataclass(frozen=True)
class Bin:
    """One bin of lengths: heights in percent of the tallest."""

    label: str
    title: str
    train: float
    val: float


def card_page(card: DataCard) -> str:
    """The card as one HTML document that needs nothing else. The same card gives the same bytes."""
    rows = sorted(card.sources, key=lambda r: (r.split != "train", -r.tokens, -r.bytes, r.source, r.package, r.version))
    return document(
        "card.html.j2",
        styles=("card.css",),
        scripts=("card.js",),
        card=card,
        hero=Tile("training tokens", short(card.facts.get("tokens", _total(rows, "train"))), _per_document(rows)),
        figures=_tiles(card, rows),
        charts=_charts(rows),
        funnel=_funnel(card.steps),
        bins=_bins(card.lengths),
        median=_median(card.lengths),
        rows=rows[:MAX_ROWS],
        more=max(0, len(rows) - MAX_ROWS),
        facts=[(key, fact(value)) for key, value in sorted(card.facts.items())],
        number=number,
        plural=plural,
        size=size,
    )


def percent(part: float, whole: float) -> str:
    """``12.3%``; what is there but rounds to nothing is ``<0.1%``, what is not all is never ``100%``."""
    if not whole or not part:
        return "0%"
    share = 100 * part / whole
    if share < 0.05:
        return "<0.1%"
    return f"{min(share, 99.9) if part < whole else share:.1f}%".replace(".0%", "%")


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _total(rows: Iterable[SourceRow], split: str) -> int:
    return sum(row.tokens for row in rows if row.split == split)


def _per_document(rows: list[SourceRow]) -> str:
    documents = sum(row.documents for row in rows if row.split == "train")
    return f"{number(round(_total(rows, 'train') / documents))} a document" if documents else ""


def _tiles(card: DataCard, rows: list[SourceRow]) -> list[Tile]:
    facts = card.facts
    train, val = ({(r.source, r.package) for r in rows if r.split == split} for split in ("train", "val"))
    documents = sum(row.documents for row in rows)
    read = f"of {card.steps[0].taken:,} read" if card.steps else ""
    tiles = [
        Tile("validation tokens", short(facts.get("val_tokens", _total(rows, "val"))), plural(len(val), "package")),
        Tile("documents", short(documents), read),
        Tile("packages", short(len(train | val)), f"{len(val - train):,} held out" if val - train else ""),
    ]
    if facts.get("num_sequences") is not None:
        tiles.append(Tile("rows", short(facts["num_sequences"]), f"of {number(facts.get('row_len'))} tokens"))
    if facts.get("fill") is not None:
        tiles.append(Tile("fill", f"{100 * facts['fill']:.2f}%", "the rest is padding"))
    if facts.get("pieces"):
        share = percent(facts.get("fim_pieces", 0), facts["pieces"])
        tiles.append(Tile("fill in the middle", share, f"of {short(facts['pieces'])} pieces"))
    return tiles


def _charts(rows: list[SourceRow]) -> list[Chart]:
    """Training tokens by package, source and licence, and the packages held out; none for what there is one of."""
    train, val = ([row for row in rows if row.split == split] for split in ("train", "val"))
    sources = {row.source for row in rows}

    homes = Counter(package for _, package in {(row.source, row.package) for row in rows})

    def package(row: SourceRow) -> str:
        return row.package if homes[row.package] == 1 else f"{row.package} ({row.source})"

    charts = [Chart("By package", "training tokens", _bars(train, package, "packages"))]
    if len(sources) > 1:
        charts.append(Chart("By source", "training tokens", _bars(train, lambda r: r.source, "sources")))
    charts.append(Chart("By licence", "training tokens", _bars(train, lambda r: r.licence, "licences"), "good"))
    charts.append(Chart("Held out", "validation tokens", _bars(val, package, "packages"), "val"))
    return [chart for chart in charts if chart.bars]


def _bars(rows: list[SourceRow], key: Callable[[SourceRow], str], what: str) -> list[Bar]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts[key(row)] += row.tokens
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    # One bar of "1 more package" would say less than its name.
    shown = ranked if len(ranked) <= TOP + 1 else ranked[:TOP]
    longest, total = max(counts.values(), default=0) or 1, counts.total()
    bars = [Bar(name, short(count), percent(count, total), round(100 * count / longest, 2)) for name, count in shown]
    if rest := sum(count for _, count in ranked[len(shown) :]):
        bars.append(Bar(f"{len(ranked) - len(shown):,} more {what}", short(rest), percent(rest, total), None))
    return bars


def _funnel(steps: list[StepRow]) -> list[Stage]:
    first = max((step.taken for step in steps), default=0) or 1
    first_bytes = max((step.bytes_taken for step in steps), default=0) or 1
    return [
        Stage(
            name=step.name.replace("_", " "),
            kept=f"{step.kept:,}",
            lost=percent(step.taken - step.kept, step.taken) if step.taken > step.kept else "",
            kept_share=round(100 * step.kept / first, 2),
            lost_share=round(100 * (step.taken - step.kept) / first, 2),
            bytes_share=round(100 * step.bytes_kept / first_bytes, 2),
            size=size(step.bytes_kept),
            reasons=_reasons(step.rejected),
        )
        for step in steps
    ]


def _reasons(rejected: Mapping[str, int]) -> list[tuple[str, str]]:
    ranked = sorted(rejected.items(), key=lambda item: (-item[1], item[0]))
    return [(reason.replace("_", " "), f"{count:,}") for reason, count in ranked if count]


def _bins(lengths: Lengths) -> list[Bin]:
    """The bins from the first that holds anything to the last; each split in shares of its own documents."""
    totals = {split: sum(getattr(lengths, split)) for split in ("train", "val")}
    shares = [
        tuple(100 * count / totals[split] if totals[split] else 0.0 for split, count in zip(totals, pair, strict=True))
        for pair in zip(lengths.train, lengths.val, strict=True)
    ]
    filled = [i for i, pair in enumerate(shares) if any(pair)]
    if not filled:
        return []
    tallest = max(map(max, shares))
    bins = []
    for i in range(filled[0], filled[-1] + 1):
        train, val = shares[i]
        bins.append(Bin(_binary(lengths.edges[i]), _bin_title(lengths, i), *(100 * s / tallest for s in (train, val))))
    return bins


def _binary(count: int) -> str:
    """A power of two as it is spoken of: ``512``, ``2k``, ``128k``."""
    return str(count) if count < 1024 else f"{count // 1024}k"


def _bin_title(lengths: Lengths, i: int) -> str:
    last = i == len(lengths.edges) - 1
    span = (
        f"{lengths.edges[i]:,} characters and more"
        if last
        else (f"{lengths.edges[i]:,} to {lengths.edges[i + 1] - 1:,} characters")
    )
    counts = [f"{getattr(lengths, s)[i]:,} {word}" for s, word in (("train", "training"), ("val", "validation"))]
    return f"{span}: {', '.join(counts)} documents"


def _median(lengths: Lengths) -> str:
    """In words, between what lengths the middle training document lies."""
    total = sum(lengths.train)
    if not total:
        return ABSENT
    middle = next(i for i, count in enumerate(accumulate(lengths.train)) if 2 * count >= total)
    if middle == len(lengths.edges) - 1:
        return f"at least {lengths.edges[middle]:,}"
    return f"between {lengths.edges[middle]:,} and {lengths.edges[middle + 1]:,}"
