"""The config gate: everything under the config directories, composed and checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from albor.config.compose import ROOT
from albor.config.overrides import split
from albor.config.problems import ConfigRefused, Problem
from albor.config.structure import MISSING
from albor.config.tree import leaves
from albor.contracts import Finding
from albor.errors import AlborError
from albor.plan.nodes import Node, Planner
from albor.plan.others import CHAIN
from albor.plan.sweep import settings
from albor.plan.target import Target

PRIMARY = ("config.yaml", f"{ROOT}.yaml")
PLAIN = "stage=report"
"""What choices are tried with that name no stage: one model, and everything on the way to what is said of it."""


@dataclass(frozen=True)
class CheckedCase:
    """One composition that did not come out as it should."""

    title: str
    problems: list[Problem] = field(default_factory=list)
    findings: list[tuple[Node, Finding]] = field(default_factory=list)
    note: str | None = None


@dataclass
class Gate:
    """What the gate saw."""

    bad: list[CheckedCase] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    """Choices that are templates: nothing wrong but values left open (``???``)."""
    refused_as_expected: list[str] = field(default_factory=list)
    never_composed: list[str] = field(default_factory=list)
    files: set[Path] = field(default_factory=set)
    checked: int = 0

    @property
    def ok(self) -> bool:
        return not self.bad and not self.never_composed

    def as_json(self) -> dict[str, Any]:
        return {
            "ok": self.ok,
            "checked": self.checked,
            "files": sorted(map(str, self.files)),
            "bad": [
                {
                    "config": c.title,
                    "problems": [f"{p.code} {p.path}: {p.cause}" for p in c.problems],
                    "findings": [f"{f.id} {f.path}: {f.message}" for _, f in c.findings],
                    "note": c.note,
                }
                for c in self.bad
            ],
            "incomplete": self.incomplete,
            "refused_as_expected": self.refused_as_expected,
            "never_composed": self.never_composed,
        }


def check_everything(planner: Planner) -> Gate:
    """Every choice of every group, every model with every stage, and every ladder; what the store has says nothing of
    a config."""
    planner = Planner(planner.resolver, from_nothing=True)
    gate = Gate()
    groups = planner.resolver.composer.groups
    singles = [
        (f"{group}={choice}", *heard_by(planner, group, choice))
        for group, choices in groups.items()
        if group not in ("ladder", "model")
        for choice in choices
    ]
    # A ladder names the model that its numbers are for, and what is served is a ladder.
    stages = [stage for stage in groups["stage"] if stage not in ("ladder", "serve")]
    pairs = [(f"model={m}", f"stage={s}") for m in groups["model"] for s in stages]
    pairs += [("stage=ladder", f"ladder={name}") for name in groups["ladder"]]
    for texts in ((), *singles, *pairs):
        check(planner, texts, gate)
    for directory in planner.resolver.composer.directories:
        for path in every_yaml(directory):
            if path not in gate.files and not shadowed(planner, directory, path):
                gate.never_composed.append(str(path))
    return gate


def heard_by(planner: Planner, group: str, choice: str) -> list[str]:
    """The stage to try a choice with, unless it names one."""
    if group == "stage" or (group == "experiment" and names_a_stage(planner, choice)):
        return []
    readers = planner.resolver.readers(group)
    if group in ("experiment", *CHAIN) or not readers or Target(planner.resolver, (PLAIN,)).hears(group):
        return [PLAIN]
    return [f"stage={readers[0]}"]


def names_a_stage(planner: Planner, experiment: str) -> bool:
    """Whether its file chooses one; one that cannot be composed is left to be tried as it is."""
    try:
        return "stage" in planner.resolver.composer.compose({"experiment": experiment}).overridden
    except (AlborError, ConfigRefused):
        return True


def every_yaml(directory: Path) -> Iterator[Path]:
    """All that looks like a config file, bases (``_name.yaml``) and a mistaken ``.yml`` included, but for the primary
    configs: they are in every composition."""
    for path in sorted(p for p in directory.rglob("*") if p.suffix in (".yaml", ".yml")):
        name = path.relative_to(directory)
        hidden = any(part.startswith(".") for part in name.parts) or any(p.startswith("_") for p in name.parts[:-1])
        if str(name) not in PRIMARY and not hidden:
            yield path


def shadowed(planner: Planner, directory: Path, path: Path) -> bool:
    """Whether a directory before this one has a file of the same name, which takes its place."""
    earlier = planner.resolver.composer.directories
    name = path.relative_to(directory)
    return any((d / name).is_file() for d in earlier[: earlier.index(directory)])


def left_open(planner: Planner, texts: tuple[str, ...], path: str) -> bool:
    """Whether a file says ``???`` at this path, or points at a value that does: a template, not a mistake."""
    composer = planner.resolver.composer
    choices = {g: c for g, (c, _) in split(texts, composer.groups, composer.bad_choice).choices.items()}
    leaf = dict(leaves(composer.compose(choices).tree)).get(path)
    return isinstance(leaf, str) and (leaf == MISSING or "${" in leaf)


def check(planner: Planner, texts: tuple[str, ...], gate: Gate) -> None:
    """Plans one target; an experiment that says by what it is refused must be refused by exactly that."""
    gate.checked += 1
    title = " ".join(text for text in texts if text != PLAIN or texts[0] == PLAIN) or "the defaults"
    try:
        plan = planner.plan(texts)
        if texts and texts[0].startswith(("hydra/", "experiment=")):
            settings(planner, texts)
    except ConfigRefused as refused:
        gate.files |= planner.resolver.composer.used(texts)
        if all(p.code == "E-MISSING" and left_open(planner, texts, p.path) for p in refused.problems):
            gate.incomplete.append(title)
        else:
            gate.bad.append(CheckedCase(title, refused.problems))
        return
    except AlborError as error:
        gate.bad.append(CheckedCase(title, [Problem(error.code, error.place or "", error.cause, error.help)]))
        return
    gate.files |= planner.resolver.composer.used(texts)
    expected = {c for n in plan.nodes for c in n.config.refused_by}
    found = [(n, f) for n in plan.nodes for f in n.findings if f.severity == "error"]
    refused_by = {f.id for _, f in found}
    if refused_by == expected:
        if expected:
            gate.refused_as_expected.append(title)
    elif expected:
        note = f"must be refused by {', '.join(sorted(expected))}; is by {', '.join(sorted(refused_by)) or 'nothing'}"
        gate.bad.append(CheckedCase(title, findings=found, note=note))
    else:
        gate.bad.append(CheckedCase(title, findings=found))
