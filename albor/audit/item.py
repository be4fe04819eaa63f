"""What an item of the audit is: an id, a severity, and a pure function from the facts to an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from albor.errors import AlborError

if TYPE_CHECKING:
    from albor.audit.facts import Facts

Severity = Literal["critical", "major", "minor"]
Verdict = Literal["PASS", "FAIL", "NOT APPLICABLE", "UNKNOWN"]


@dataclass(frozen=True)
class Outcome:
    verdict: Verdict
    evidence: str
    """What was looked at and what it came to; of what does not apply or is not known, why."""


class Unknowable(Exception):
    """What an item would need to know is recorded nowhere. The message says what."""


def holds(condition: bool, evidence: str) -> Outcome:
    return Outcome("PASS" if condition else "FAIL", evidence)


def beside(why: str) -> Outcome:
    return Outcome("NOT APPLICABLE", why)


def unknown(why: str) -> Outcome:
    return Outcome("UNKNOWN", why)


Check = Callable[["Facts"], Outcome]


@dataclass(frozen=True)
class Item:
    """Something that must be so before a model is released."""

    id: str
    title: str
    severity: Severity
    check: Check

    def __call__(self, facts: Facts) -> Outcome:
        """The outcome; what cannot be read fails, for a release is not made of it."""
        try:
            return self.check(facts)
        except Unknowable as why:
            return unknown(str(why))
        except AlborError as error:
            return holds(False, f"it cannot be checked: {error.cause}")
        except OSError as error:
            return holds(False, f"it cannot be checked: {error.filename}: {error.strerror}")


ITEMS: dict[str, Item] = {}
SECTIONS = {
    "DATA": "data governance",
    "HYP": "hypotheses",
    "REP": "numerical reproducibility",
    "WASTE": "waste",
    "SAFE": "safety",
    "INV": "invariants",
    "EVAL": "evaluation",
}
"""The middle of an item's id to what its section is called."""


def item(id: str, title: str, *, severity: Severity) -> Callable[[Check], Check]:  # noqa: A002
    """Registers a check as the item ``id``."""

    def register(check: Check) -> Check:
        assert id not in ITEMS, f"{id} is defined twice"
        assert id.split("-")[1] in SECTIONS
        ITEMS[id] = Item(id, title, severity, check)
        return check

    return register


def listed(found: list[str], most: int = 3) -> str:
    """The first of several findings, and how many more there are."""
    more = f" and {len(found) - most:,} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more
