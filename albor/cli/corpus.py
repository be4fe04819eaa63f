"""Rows of tokens and the figures of a corpus on the screen: colour on a terminal, marks everywhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from albor.cli.render import paint, plural, table
from albor.config.units import human_bytes

if TYPE_CHECKING:
    from albor.data.card import Shard, SourceRow, StepRow
    from albor.data.view import Mark, Piece, Text

MARKS = {
    "FIM_PREFIX": ("cyan", "what comes before the gap"),
    "FIM_SUFFIX": ("yellow", "what comes after it"),
    "FIM_MIDDLE": ("green", "what fills it (in SPM with the text before the gap)"),
    "EOS": ("red", "end of text"),
    "PAD": ("dim", "padding"),
}
"""Control token to its colour and its meaning."""
COLOURS = {"text": (), "prefix": ("cyan",), "suffix": ("yellow",), "middle": ("green",)}
TOP = 20
"""Sources shown unless all are asked for."""
# Code may hold terminal escapes; what is not printed as itself is shown as its picture, or as a replacement.
PICTURES = (
    {c: 0x2400 + c for c in range(32) if c not in (9, 10)} | {127: 0x2421} | dict.fromkeys(range(128, 160), 0xFFFD)
)


def shown(text: str) -> str:
    """Text that cannot move the cursor or change the colours."""
    return text.translate(PICTURES)


def mark(name: str, count: int = 1) -> str:
    return paint(f"⟦{name}{f' × {count:,}' if count > 1 else ''}⟧", MARKS[name][0], "bold")


def legend() -> str:
    """What the marks stand for."""
    return "\n".join(f"  {mark(name)} {meaning}" for name, (_, meaning) in MARKS.items())


def row_lines(title: str, pieces: Sequence[Piece], padding: int) -> Iterator[str]:
    """A row: each piece under a line that says its form and size, then the padding."""
    yield ""
    yield paint(f"{title}, {plural(len(pieces), 'piece')}, {padding:,} padding", "bold")
    for number, piece in enumerate(pieces, 1):
        yield paint(f"── piece {number} of {len(pieces)} · {piece.form} · {plural(piece.tokens, 'token')} ──", "dim")
        yield "".join(_part(part) for part in piece.parts)
    if padding:
        yield mark("PAD", padding)


def _part(part: Mark | Text) -> str:
    from albor.data.view import Mark

    if isinstance(part, Mark):
        return mark(part.name)
    # Line by line: a pager forgets the colour at the end of a line.
    return "\n".join(paint(line, *COLOURS[part.kind]) if line else "" for line in shown(part.text).split("\n"))


def card_lines(
    steps: Sequence[StepRow],
    sources: Sequence[SourceRow],
    shards: Sequence[Shard],
    facts: Mapping[str, Any],
    *,
    everything: bool,
) -> list[str]:
    """Tables of what a corpus is made of; of the sources the largest, unless ``everything`` is asked for."""
    sections = {
        "steps": _steps(steps),
        "licences": _licences(sources),
        "sources": _sources(sources, everything=everything),
        "shards": _shards(shards),
        "figures": _figures(facts),
    }
    return [line for title, text in sections.items() if text for line in (paint(title, "bold"), text, "")][:-1]


def _steps(steps: Sequence[StepRow]) -> str:
    rows = [["step", "taken", "kept", "rejected", "bytes kept", "reasons"]]
    for step in steps:
        ranked = sorted(step.rejected.items(), key=lambda item: (-item[1], item[0]))
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in ranked)
        counts = [f"{n:,}" for n in (step.taken, step.kept, step.taken - step.kept)]
        rows.append([step.name, *counts, human_bytes(step.bytes_kept), reasons])
    return table(rows, right=(1, 2, 3, 4)) if steps else ""


def _licences(sources: Sequence[SourceRow]) -> str:
    packed = any(r.tokens for r in sources)
    rows = [["licence", "split", "packages", *_sum_names(packed)]]
    for licence, split in sorted({(r.licence, r.split) for r in sources}):
        part = [r for r in sources if (r.licence, r.split) == (licence, split)]
        packages = len({(r.source, r.package) for r in part})
        rows.append([shown(licence), split, f"{packages:,}", *_sums(part, packed)])
    return table(rows, right=range(2, len(rows[0]))) if sources else ""


def _sources(sources: Sequence[SourceRow], *, everything: bool) -> str:
    packed = any(r.tokens for r in sources)
    ranked = sorted(sources, key=lambda r: (-r.tokens, -r.bytes, r.source, r.package, r.version, r.licence, r.split))
    listed = ranked if everything else ranked[:TOP]
    head = ["package", "version", "licence", "source", "split", *_sum_names(packed)]
    rows = [[*map(shown, (r.package, r.version, r.licence, r.source, r.split)), *_sums([r], packed)] for r in listed]
    if left := ranked[len(listed) :]:
        rows.append([f"{len(left):,} more (--all)", "", "", "", "", *_sums(left, packed)])
    return table([head, *rows], right=range(5, len(head))) if sources else ""


def _sum_names(packed: bool) -> list[str]:
    return ["documents", "bytes", *(["tokens"] if packed else [])]


def _sums(rows: Sequence[SourceRow], packed: bool) -> list[str]:
    documents, size, tokens = (sum(getattr(r, k) for r in rows) for k in ("documents", "bytes", "tokens"))
    return [f"{documents:,}", human_bytes(size), *([f"{tokens:,}"] if packed else [])]


def _shards(shards: Sequence[Shard]) -> str:
    rows = [[s.file, f"{s.rows:,}", f"{s.tokens:,}", human_bytes(s.bytes), s.sha256[:12]] for s in shards]
    return table([["file", "rows", "tokens", "size", "sha256"], *rows], right=(1, 2, 3)) if shards else ""


def _figures(facts: Mapping[str, Any]) -> str:
    rows = [[name, _figure(value)] for name, value in facts.items()]
    shares = [what for what in ("pieces", "documents") if facts.get(what) and f"fim_{what}" in facts]
    rows += [[f"fim share of {what}", f"{facts[f'fim_{what}'] / facts[what]:.1%}"] for what in shares]
    return table([["figure", "value"], *rows], right=(1,)) if rows else ""


def _figure(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.5g}" if isinstance(value, float) else shown(str(value))
