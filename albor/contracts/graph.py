"""What each contract takes for granted, as a graph without cycles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from albor.contracts.base import Rule
from albor.errors import AlborError


def layers(rules: Mapping[str, Rule]) -> list[list[str]]:
    """The ids, each in the first layer after all that it needs.

    Raises:
        AlborError: a contract needs one that there is not, or itself by way of others.
    """
    for rule in rules.values():
        if unknown := [needed for needed in rule.needs if needed not in rules]:
            fix = "correct its needs=, or write the contract"
            raise AlborError(f"{rule.id} needs {unknown[0]}, which is no contract", fix, code="E-CONTRACT")
    try:
        order = list(TopologicalSorter({rule.id: rule.needs for rule in rules.values()}).static_order())
    except CycleError as error:
        cycle = " needs ".join(reversed(error.args[1]))
        fix = "take one of them out of the other's needs=: nothing in a circle can be verified first"
        raise AlborError(f"contracts need each other in a circle: {cycle}", fix, code="E-CONTRACT") from None
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[needed] for needed in rules[name].needs), default=-1)
    return [[name for name in rules if depth[name] == level] for level in range(1 + max(depth.values(), default=-1))]


def with_needs(ids: Iterable[str], rules: Mapping[str, Rule]) -> dict[str, Rule]:
    """The contracts ``ids`` and all that they rest on, in the order of ``rules``."""
    wanted: set[str] = set()
    waiting = list(ids)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting += rules[name].needs
    return {name: rule for name, rule in rules.items() if name in wanted}
