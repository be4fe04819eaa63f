"""Where every document of a corpus comes from, as a Markdown page that a rebuild writes again to the byte."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from albor.data.card import DataCard, SourceRow, StepRow

FACTS = (
    *("num_sequences", "val_sequences", "tokens", "val_tokens", "val_bytes", "fill", "row_len", "token_bytes"),
    *("vocab_size", "eos_id", "pad_id", "pieces", "fim_pieces", "documents", "fim_documents"),
    *("kept free of benchmarks", "training copies"),
)
"""Facts that the data determine; others may say how one build of them went."""
COUNTS = ("packages", "files", "bytes", "tokens")
NUMBERS = {*COUNTS, "rows", "taken", "kept", "rejected", "bytes kept", "value"}
"""Columns that are aligned at the right."""
MARKUP = re.compile(r"([\\`*\[\]<>&|~!#:@$]|(?<![a-zA-Z0-9])_|_(?![a-zA-Z0-9]))")
"""What Markdown may read as more than itself; an underscore inside a word is none of it."""


def provenance(card: DataCard) -> str:
    """The page. It depends on the card alone, and not on the order of its sources and shards."""
    rows = sorted(card.sources, key=lambda r: (r.source, r.split, r.package, r.version, r.licence))
    inputs = [["tokenizer", card.tokenizer], *([f"{name} run", card.inputs[name]] for name in sorted(card.inputs))]
    shards = [[s.file, s.rows, s.tokens, s.bytes, s.sha256] for s in sorted(card.shards, key=lambda s: s.file)]
    facts = [[name, card.facts[name]] for name in FACTS if name in card.facts]
    parts = [
        f"# Provenance of {text(card.name)}",
        _table(("split", *COUNTS), _grouped(rows, lambda r: (r.split,))),
        "## Made with",
        _table(("what", "which"), inputs),
        "## Licences",
        _table(("licence", "split", *COUNTS), _grouped(rows, lambda r: (r.licence, r.split))),
        *(part for source in sorted({r.source for r in rows}) for part in _source(source, rows)),
        "## Steps",
        "Each step sees what the one before it kept.",
        _table(("step", "taken", "kept", "rejected", "bytes kept", "reasons"), map(_step, card.steps)),
        "## Files",
        _table(("file", "rows", "tokens", "bytes", "SHA-256"), shards),
        "## Figures",
        _table(("figure", "value"), facts),
    ]
    return "\n\n".join(parts) + "\n"


def text(value: str) -> str:
    """Any text as Markdown that shows it, also in a table: no markup of its own, nothing invisible."""
    return MARKUP.sub(r"\\\1", "".join(c if c.isprintable() else "\ufffd" for c in value))


def _counts(rows: Sequence[SourceRow]) -> list[int]:
    """The numbers of ``COUNTS``."""
    packages = len({(row.source, row.package) for row in rows})
    return [packages, sum(r.documents for r in rows), sum(r.bytes for r in rows), sum(r.tokens for r in rows)]


def _grouped(rows: Iterable[SourceRow], key: Callable[[SourceRow], tuple[str, ...]]) -> list[list[str | int]]:
    groups: dict[tuple[str, ...], list[SourceRow]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return [[*names, *_counts(groups[names])] for names in sorted(groups)]


def _source(source: str, rows: Sequence[SourceRow]) -> tuple[str, str]:
    mine = [row for row in rows if row.source == source]
    listed = [[r.package, r.version, r.licence, r.split, r.documents, r.bytes, r.tokens] for r in mine]
    packages, *counts = _counts(mine)
    head = ("package", "version", "licence", "split", "files", "bytes", "tokens")
    return f"## Source {text(source)}", _table(head, [*listed, [f"all {packages:,}", "", "", "", *counts]])


def _step(step: StepRow) -> list[str | int]:
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(step.rejected.items()))
    return [step.name, step.taken, step.kept, step.taken - step.kept, step.bytes_kept, reasons]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    rule = ["--:" if name in NUMBERS else "---" for name in head]
    lines = [head, rule, *([_cell(value) for value in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else text(str(value))
