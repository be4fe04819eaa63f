"""What a person reads: errors with place and fix, tables, the plan. Plain text; colour on a terminal only."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from albor.config.problems import Problem
from albor.errors import AlborError

if TYPE_CHECKING:
    from albor.contracts import Finding
    from albor.plan.nodes import Node

CODES = {"red": "31", "yellow": "33", "green": "32", "cyan": "36", "bold": "1", "dim": "2"}


def paint(text: str, *styles: str, stream: TextIO | None = None) -> str:
    """Text in colour when the stream is a terminal and NO_COLOR is not set."""
    out = stream or sys.stdout
    if not styles or not out.isatty() or os.environ.get("NO_COLOR"):
        return text
    return f"\033[{';'.join(CODES[s] for s in styles)}m{text}\033[0m"


def message(severity: str, code: str, cause: str, place: str | None, fix: str | None, stream: TextIO) -> str:
    colour = "red" if severity == "error" else "yellow"
    lines = [f"{paint(f'{severity}[{code}]', colour, 'bold', stream=stream)} {cause}"]
    if place:
        lines.append(f"  {paint('-->', 'dim', stream=stream)} {place}")
    if fix:
        lines.append(f"  {paint('help:', 'cyan', stream=stream)} {fix}")
    return "\n".join(lines)


def show_problems(problems: Iterable[Problem]) -> None:
    for p in problems:
        place = f"{p.path} ({p.origin})" if p.origin and p.path and p.path not in p.origin else p.origin or p.path
        print(message("error", p.code, p.cause, place, p.help, sys.stderr), file=sys.stderr)


def show_finding(finding: Finding, where: str, origin: str | None, stream: TextIO | None = None) -> None:
    out = stream or sys.stderr
    place = f"{finding.path}, in {where}" + (f" ({origin})" if origin else "")
    print(message(finding.severity, finding.id, finding.message, place, finding.help, out), file=out)


def show_findings_of(found: Iterable[tuple[Node, Finding]], stream: TextIO | None = None) -> None:
    """Findings with the place that set the value."""
    for node, finding in found:
        show_finding(finding, node.stage.name, node.origins.find(finding.path), stream)


def show_error(error: AlborError) -> None:
    print(message("error", error.code, error.cause, error.place, error.help, sys.stderr), file=sys.stderr)


def clipped(text: str, width: int) -> str:
    """Text in at most ``width`` characters, cut between words where it has several."""
    if len(text) <= width:
        return text
    words = text[:width].rpartition(" ")[0].rstrip()
    return f"{words or text[: width - 1]}…"


def table(rows: Sequence[Sequence[str]], *, right: Iterable[int] = (), indent: str = "  ") -> str:
    """Columns as wide as their widest cell; the first row is the head."""
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    align = set(right)
    lines = []
    for n, row in enumerate(rows):
        cells = [c.rjust(w) if i in align else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        line = (indent + "  ".join(cells)).rstrip()
        lines.append(paint(line, "dim") if n == 0 else line)
    return "\n".join(lines)


def plural(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
