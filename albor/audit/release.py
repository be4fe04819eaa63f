"""The audit of a release: every item on one model's facts, the grade, and how it is written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import get_args

from albor.audit.facts import Facts
from albor.audit.items import ITEMS, SECTIONS, Item, Outcome, Severity, Verdict

GRADES = {
    "A": "all that applies passes; nothing critical or major is unknown",
    "B": "no critical or major item fails; a minor one does, or a major one is unknown",
    "C": "no critical item fails; one to three major ones do",
    "D": "no critical item fails, but more than three major ones do, or a critical one is unknown",
    "F": "a critical item fails: the model must not be released",
}
"""What each grade says; the worst that applies is given."""
MAJORS = 3
ANNOTATIONS: dict[Severity, str] = {"critical": "error", "major": "warning", "minor": "notice"}


@dataclass(frozen=True)
class Audit:
    """What came of the items."""

    name: str
    results: tuple[tuple[Item, Outcome], ...]

    def having(self, verdict: Verdict, severity: Severity | None = None) -> list[tuple[Item, Outcome]]:
        return [
            (item, outcome)
            for item, outcome in self.results
            if outcome.verdict == verdict and severity in (None, item.severity)
        ]

    @property
    def releasable(self) -> bool:
        return not self.having("FAIL", "critical")

    @property
    def grade(self) -> str:
        majors = len(self.having("FAIL", "major"))
        if not self.releasable:
            return "F"
        if majors > MAJORS or self.having("UNKNOWN", "critical"):
            return "D"
        if majors:
            return "C"
        return "B" if self.having("FAIL") or self.having("UNKNOWN", "major") else "A"

    @property
    def summary(self) -> str:
        counts = ", ".join(f"{len(self.having(verdict))} {verdict.lower()}" for verdict in get_args(Verdict))
        return f"grade {self.grade}: {GRADES[self.grade]} ({counts}, of {len(self.results)} items)"


def audit(facts: Facts, *, critical_only: bool = False) -> Audit:
    items = [item for item in ITEMS.values() if not critical_only or item.severity == "critical"]
    items.sort(key=lambda item: ([*SECTIONS].index(item.id.split("-")[1]), item.id))
    name = f"{facts.run.manifest.stage}/{facts.run.directory.name}"
    return Audit(name, tuple((item, item(facts)) for item in items))


def sections(made: Audit) -> Iterable[tuple[str, list[tuple[Item, Outcome]]]]:
    for key, title in SECTIONS.items():
        found = [(item, outcome) for item, outcome in made.results if item.id.split("-")[1] == key]
        if found:
            yield title, found


def as_text(made: Audit, paint: Callable[[str, Verdict], str] = lambda text, verdict: text) -> str:
    lines = [made.name]
    for title, found in sections(made):
        lines.append(f"\n{title}")
        for item, outcome in found:
            verdict = paint(f"{outcome.verdict:<14}", outcome.verdict)
            lines += [f"  {verdict}  {item.id:<10}  {item.severity:<8}  {item.title}", f"{'':18}{outcome.evidence}"]
    return "\n".join([*lines, "", made.summary])


def as_json(made: Audit) -> str:
    items = [
        {"id": item.id, "title": item.title, "severity": item.severity, **vars(outcome)}
        for item, outcome in made.results
    ]
    whole = {"run": made.name, "grade": made.grade, "releasable": made.releasable, "rule": GRADES, "items": items}
    return json.dumps(whole, indent=1)


def as_github(made: Audit) -> str:
    """Workflow commands: an annotation for each item that fails, and for critical ones that are unknown."""
    lines = []
    for item, outcome in [*made.having("FAIL"), *made.having("UNKNOWN", "critical")]:
        kind = ANNOTATIONS[item.severity] if outcome.verdict == "FAIL" else "warning"
        title = escaped(f"{item.id} {item.title}").replace(":", "%3A").replace(",", "%2C")
        lines.append(f"::{kind} title={title}::{escaped(outcome.evidence)}")
    return "\n".join([*lines, f"::notice title=albor audit {escaped(made.name)}::{escaped(made.summary)}"])


def escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def as_markdown(made: Audit) -> str:
    from albor.data.provenance import text

    lines = [f"# Audit of {text(made.name)}", "", f"{text(made.summary[:1].upper() + made.summary[1:])}."]
    for title, found in sections(made):
        lines += [
            "",
            f"## {title[:1].upper()}{title[1:]}",
            "",
            "| id | severity | verdict | item | evidence |",
            f"|{' --- |' * 5}",
        ]
        for item, outcome in found:
            cells = [item.id, item.severity, outcome.verdict, text(item.title), text(outcome.evidence)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


FORMATS: dict[str, Callable[[Audit], str]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "markdown": as_markdown,
}
