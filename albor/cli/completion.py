"""Tab completion: verbs, groups, choices, every key, and the values of those that have few.

``eval "$(albor -sc install=bash)"`` puts it into a shell; the shell's side is Hydra's, the answers are ours, because
Hydra knows only the keys that some YAML sets.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from albor.cli.arguments import FLAGS, VERBS
from albor.config.location import options, search_directories


def complete(argv: Sequence[str]) -> int:
    """Answers a shell's query from COMP_LINE, or hands installation to Hydra."""
    line = os.environ.get("COMP_LINE")
    if line is not None and any(a.startswith("query=") for a in argv):
        print("\n".join(answers(line)))
        return 0
    from albor.cli.launch import call_hydra

    call_hydra(argv)
    return 0


def answers(line: str) -> list[str]:
    """What the last word of ``line`` may become."""
    words = line.split(" ")
    verb = words[1] if len(words) > 2 and words[1] in VERBS else ""
    begun = words[-1]
    groups = options(search_directories(()))
    found: list[str] = []
    if begun.startswith("-"):
        found = ["--config-dir", *(f"--{f.replace('_', '-')}" for f in FLAGS.get(verb, ()))]
    elif verb == "ls":
        found = list(groups)
    elif verb == "runs":
        found = groups["stage"]
    elif verb == "monitor":
        found = _runs()
    elif verb == "data" and len(words) == 3:
        found = ["inspect", "stats"]
    elif verb == "explain":
        from albor.contracts import RULES

        found = [*_keys(), *RULES]
    elif verb == "contracts":
        from albor.contracts import RULES

        found = list(RULES)
    else:
        found = _overrides(begun, groups) + (list(VERBS) if len(words) == 2 else [])
    return [f for f in found if f.startswith(begun)]


def _runs() -> list[str]:
    from albor.runs.store import outputs_of

    return sorted(path.parent.name for path in outputs_of(()).glob("*/*/manifest.yaml"))


def _keys() -> list[str]:
    from albor.plan.keys import keys

    return list(keys())


def _overrides(begun: str, groups: dict[str, list[str]]) -> list[str]:
    key, given, _ = begun.partition("=")
    if not given:
        return [*(f"{g}=" for g in groups), *(f"{k}=" for k in _keys())]
    if key in groups:
        return [f"{key}={choice}" for choice in groups[key]]
    from albor.plan.keys import keys

    known = keys().get(key)
    return [f"{key}={value}" for value in known.values] if known else []
