"""How fast a model answers, beside its peers: one page, and the same as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from albor.data.provenance import text
from albor.report.formats import number, size
from albor.report.shell import Tile, document

HEAD = ("engine", "threads", "texts", "first token, ms", "ms/token p50", "p90", "tokens/s", "memory")


@dataclass(frozen=True)
class Bar:
    """One measurement in a picture; ``share`` is its length in percent of the longest."""

    name: str
    value: str
    share: float
    ours: bool


@dataclass(frozen=True)
class Picture:
    title: str
    unit: str
    better: str
    bars: Sequence[Bar]


def rows(found: Mapping[str, Any]) -> list[list[str]]:
    """A line for each measurement."""
    return [
        [
            timing["engine"],
            str(timing["threads"] or "–"),
            str(timing["rows"]),
            *(number(timing[key], 3) if timing[key] is not None else "–" for key in ("first_ms", "p50_ms", "p90_ms")),
            number(timing["rate"], 3),
            size(timing["memory"]),
        ]
        for timing in found["timings"]
    ]


def caption(found: Mapping[str, Any]) -> str:
    """What was measured, and on what."""
    return (
        f"{found['model']}, {size(found['bytes'])}, on {found['machine']}; prompts of {found['prompt_tokens']} tokens, "
        f"{found['new_tokens']} new ones; medians of {found['rounds']} rounds."
    )


def table(found: Mapping[str, Any]) -> str:
    """Markdown."""
    lines = [list(HEAD), ["---", *["--:"] * (len(HEAD) - 1)], *([text(cell) for cell in row] for row in rows(found))]
    return f"{text(caption(found))}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def render(found: Mapping[str, Any]) -> str:
    """One HTML document: no external asset, no network."""
    hero, figures = tiles(found)
    return document(
        "bench.html.j2",
        styles=("bench.css",),
        scripts=("ready.js",),
        title=f"How fast {found['model']} answers",
        run=found["run"],
        hero=hero,
        figures=figures,
        pictures=pictures(found),
        head=HEAD,
        rows=rows(found),
        caption=caption(found),
    )


def ours(timing: Mapping[str, Any]) -> bool:
    return str(timing["engine"]).startswith("albor")


def tiles(found: Mapping[str, Any]) -> tuple[Tile, list[Tile]]:
    own = [timing for timing in found["timings"] if ours(timing)]
    alone = [timing for timing in own if timing["rows"] == 1 and timing["p50_ms"] is not None]
    if not alone:
        return Tile("size", size(found["bytes"])), []
    best = min(alone, key=lambda timing: timing["p50_ms"])
    hero = Tile("a further token", f"{number(best['p50_ms'], 3)} ms", _threads(best))
    many = max(own, key=lambda timing: timing["rate"])
    return hero, [
        Tile("first token", f"{number(best['first_ms'], 3)} ms", f"after {found['prompt_tokens']} tokens of prompt"),
        Tile("most tokens/s", number(many["rate"], 3), f"{many['rows']} texts at a time"),
        Tile("size", size(found["bytes"])),
        Tile("memory", size(best["memory"]), "one text at a time"),
    ]


def pictures(found: Mapping[str, Any]) -> list[Picture]:
    alone = [timing for timing in found["timings"] if timing["rows"] == 1]
    many = [timing for timing in found["timings"] if timing["threads"] == found["timings"][-1]["threads"]]
    wanted = (
        ("A further token, one text at a time", "ms", "shorter is better", "p50_ms", alone, _threads),
        ("The first token, one text at a time", "ms", "shorter is better", "first_ms", alone, _threads),
        ("Texts at a time", "new tokens/s", "longer is better", "rate", many, _texts),
    )
    drawn = []
    for title, unit, better, key, timings, detail in wanted:
        known = [timing for timing in timings if timing[key] is not None]
        most = max((timing[key] for timing in known), default=0.0)
        bars = [
            Bar(f"{t['engine']}, {detail(t)}".rstrip(", "), number(t[key], 3), round(100 * t[key] / most, 2), ours(t))
            for t in known
            if most
        ]
        if bars:
            drawn.append(Picture(title, unit, better, bars))
    return drawn


def _threads(timing: Mapping[str, Any]) -> str:
    count = timing["threads"]
    return "" if count is None else f"{count} thread{'s' if count > 1 else ''}"


def _texts(timing: Mapping[str, Any]) -> str:
    return f"{timing['rows']} text{'s' if timing['rows'] > 1 else ''}"
