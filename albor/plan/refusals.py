"""What is wrong with a command line's choices and alerts, and which problems only repeat others."""

from __future__ import annotations

from collections.abc import Iterator

from albor.config.compose import Composed
from albor.config.overrides import Overrides
from albor.config.problems import Problem
from albor.config.suggest import nearest
from albor.plan.resolver import alert_names


def without_choice(overrides: Overrides, whole: Composed) -> list[Problem]:
    """Groups that are set to null or deleted, though one of their choices is needed."""
    return [
        Problem("E-CHOICE", group, f"{group} needs a choice", f"write {group}=CHOICE", f"override {text}")
        for group, (choice, text) in overrides.choices.items()
        if choice is None and whole.choices.get(group) is not None
    ]


def without_alert(overrides: Overrides, whole: Composed) -> Iterator[Problem]:
    """Alerts that are switched off, though the files have none of that name, but others, which would stay on."""
    names = alert_names(whole)
    for key, override in overrides.values:
        section, _, name = key.rpartition(".")
        off = section == "alerts" and not override.is_delete() and override.value() is None
        if off and names and name not in names:
            guess = nearest(name, names)
            fix = f"did you mean `alerts.{guess}`?" if guess else "leave it out"
            cause = f"`{key}` is not there to be switched off"
            yield Problem("E-KEY", key, cause, fix, f"override {override.input_line}")


def without_echoes(problems: list[Problem]) -> list[Problem]:
    """Each problem once; an override that reaches nothing is no news when its value is refused already."""
    refused = {p.path.split("[")[0] for p in problems if p.code != "E-OVERRIDE"}
    paths = refused | {p.path for p in problems}
    return [
        p
        for p in dict.fromkeys(problems)
        if p.code != "E-OVERRIDE" or not (p.path in refused or any(q.startswith(f"{p.path}.") for q in paths))
    ]
