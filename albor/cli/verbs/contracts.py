"""``albor contracts [C-ID…]``: every contract, how surely it is known, by which tests, and whether they passed."""

from __future__ import annotations

import json
from dataclasses import dataclass

from albor.cli.arguments import Arguments
from albor.cli.dag import mermaid, svg
from albor.cli.render import paint, table
from albor.cli.verbs.explain import contract_text
from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest
from albor.contracts import RULES, Kernel, Rule
from albor.contracts.evidence import Evidence, checkout, outcomes, sources, stated, status
from albor.contracts.graph import layers, with_needs

COLOURS = {"passed": "green", "failed": "red"}
UNKNOWN = "unknown"
"""The status where there are no tests to ask."""


@dataclass(frozen=True)
class Known:
    """A contract, the tests that state it, and what came of them."""

    rule: Rule
    tests: tuple[Evidence, ...]
    statuses: tuple[str, ...]
    """Of each test."""
    status: str


def run(arguments: Arguments) -> int:
    """Raises ConfigRefused for an id that no contract has."""
    layers(RULES)  # nothing is listed as verified that rests on itself
    ids = [contract(word) for word in arguments.words] or list(RULES)
    if arguments.graph:
        rules = with_needs(ids, RULES)
        print(svg(rules) if arguments.graph == "svg" else mermaid(rules))
        return 0
    found = known(ids)
    if arguments.json:
        print(json.dumps([as_json(k) for k in found], indent=1, ensure_ascii=False))
    elif arguments.words:
        print("\n\n".join(details(k) for k in found))
    else:
        print(overview(found))
    return 0


def contract(word: str) -> str:
    if word.upper() in RULES:
        return word.upper()
    guess = nearest(word.upper(), list(RULES))
    fix = f"did you mean `albor contracts {guess}`?" if guess else "`albor contracts` lists them"
    raise ConfigRefused([Problem("E-CHOICE", "contracts", f"'{word}' is no contract", fix)])


def known(ids: list[str]) -> list[Known]:
    root = checkout()
    if root is None:
        return [Known(RULES[i], (), (), UNKNOWN) for i in ids]
    evidence, seen, digest = stated(root), outcomes(root), sources(root)
    found = []
    for name in ids:
        tests = tuple(e for e in evidence if e.contract == name)
        each = tuple(status(name, [e.test], seen, digest) for e in tests)
        found.append(Known(RULES[name], tests, each, status(name, [e.test for e in tests], seen, digest)))
    return found


def overview(found: list[Known]) -> str:
    rows = [[k.rule.id, str(k.rule.level), str(len(k.tests)), k.status, k.rule.title] for k in found]
    lines = [table([["contract", "level", "tests", "status", ""], *rows], right=(1, 2))]
    if checkout() is None:
        lines.append("\nThe tests are in the repository, not in the installed package: see there for their status.")
    elif any(k.status.startswith("not run") for k in found):
        lines.append("\n'not run since': passed, and sources have changed after it. `make test` runs what is not slow.")
    lines.append("Levels: 1 typed, 2 examples, 3 properties, 4 proof. `albor contracts C-ID` says more.")
    return "\n".join(lines)


def details(k: Known) -> str:
    lines = [contract_text(k.rule)]
    if needed_by := [rule.id for rule in RULES.values() if k.rule.id in rule.needs]:
        lines.append(f"  needed by  {', '.join(needed_by)}")
    lines.append(f"  status     {paint(k.status, COLOURS.get(k.status, 'yellow'))}")
    rows = [[e.test, f"level {e.level}", s] for e, s in zip(k.tests, k.statuses, strict=True)]
    return "\n".join([*lines, *([table([["", "", ""], *rows], indent="    ").split("\n", 1)[1]] if rows else [])])


def as_json(k: Known) -> dict[str, object]:
    rule = k.rule
    tests = [{"test": e.test, "level": e.level, "status": s} for e, s in zip(k.tests, k.statuses, strict=True)]
    return {
        "id": rule.id,
        "kind": "kernel" if isinstance(rule, Kernel) else "config",
        "title": rule.title,
        "formula": rule.formula,
        "history": rule.history,
        "level": rule.level,
        "needs": rule.needs,
        "status": k.status,
        "tests": tests,
    }
