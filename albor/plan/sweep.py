"""A sweep's points: expanded as Hydra's own sweeper expands them, every one planned before the first is started."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, get_args

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, IntervalSweep, Override
from hydra.errors import HydraException

from albor.config.overrides import GROUPS, check_hydra, is_hydra, parse, plain_value, split
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.sweep import Launcher, OptunaSweeper, Sweeper
from albor.config.structure import converter
from albor.config.suggest import nearest
from albor.config.tree import set_value
from albor.plan.nodes import Plan, Planner
from albor.plan.space import read_space

TRAINING = "stage=pretrain"
"""What a sweep is of, unless the command line or its experiment says so."""


@dataclass(frozen=True)
class Sweep:
    """Planned points, and the problems of those that cannot be."""

    plans: list[Plan]
    refused: list[tuple[tuple[str, ...], list[Problem]]]


@dataclass(frozen=True)
class Settings:
    """How a sweep finds its points and where they run."""

    launcher: Launcher
    sweeper: Sweeper
    params: Mapping[str, Any]
    """Keys and values that an experiment sweeps over."""


@dataclass(frozen=True)
class Choices:
    """What a glob asks of Hydra's loader. Hydra's own lists the files of one directory, so that
    ``experiment=glob(original/*)`` would match nothing."""

    groups: dict[str, list[str]]

    def get_group_options(self, group_name: str, **_: object) -> list[str]:
        return self.groups.get(group_name, [])


def settings(planner: Planner, texts: Sequence[str]) -> Settings:
    """The launcher and the sweeper that the command line, or the chosen experiment, asks for.

    Raises:
        ConfigRefused: a choice or key that does not exist, a value that is not one.
    """
    own = [text for text in texts if is_hydra(text)]
    if problems := [problem for text in own for problem in check_hydra(text)]:
        raise ConfigRefused(problems)
    tree = copy.deepcopy(hydra_tree(planner, texts))
    origins = {}
    for override in map(parse, own):
        if override.key_or_group not in GROUPS:
            path = override.key_or_group.removeprefix("hydra.")
            tree = set_value(tree, path, plain_value(override))
            origins[override.key_or_group] = f"override {override.input_line}"
    params = tree["sweeper"].pop("params", None) or {}
    problems = []
    launcher: Launcher | None = structured(Launcher, tree["launcher"], "hydra.launcher", problems)
    sweeper: Sweeper | None = structured(Sweeper, tree["sweeper"], "hydra.sweeper", problems)
    if launcher is None or sweeper is None:
        raise ConfigRefused([replace(p, origin=p.origin or origins.get(p.path)) for p in problems])
    return Settings(launcher, sweeper, params)


def structured(union: Any, tree: dict[str, Any], path: str, problems: list[Problem]) -> Any:
    """One of a union's schemas from plain data, None with problems; unknown keys with the nearest one there is."""
    found: list[Problem] = []
    made = converter(union)(tree, path, found)
    kinds = {schema().kind: [f.name for f in fields(schema) if f.name != "kind"] for schema in get_args(union)}
    known = kinds.get(tree.get("kind", ""), [])
    for problem in found:
        if problem.code == "E-KEY":
            guess = nearest(problem.path.removeprefix(f"{path}."), known)
            listed = f"the keys are {', '.join(known)}" if known else f"{path} has no keys: choose another one"
            problem = replace(problem, help=f"did you mean `{path}.{guess}`?" if guess else listed)
        problems.append(problem)
    return made


def hydra_tree(planner: Planner, texts: Sequence[str]) -> dict[str, Any]:
    """The ``hydra`` node of the composed config: an experiment may ask for a sweep there."""
    composer = planner.resolver.composer
    fixed = tuple(t for t in texts if not is_hydra(t) and not _is_sweep(planner, t))
    choices = {g: c for g, (c, _) in split(fixed, composer.groups, composer.bad_choice).choices.items()}
    own = split(tuple(filter(is_hydra, texts)), composer.groups, composer.bad_choice)
    choices |= {o.key_or_group: str(o.value()) for o in map(parse, own.hydra) if o.key_or_group in GROUPS}
    if problems := [problem for problem in own.problems if problem.code == "E-CHOICE"]:
        raise ConfigRefused(problems)
    return composer.compose(choices).hydra


def asks_for_sweep(planner: Planner, texts: Sequence[str]) -> bool:
    """Whether the chosen experiment sets ``hydra.mode: MULTIRUN``, or the command line does."""
    if any(t.lstrip("+") == "hydra.mode=MULTIRUN" for t in texts):
        return True
    if not any("experiment=" in t for t in texts):
        return False
    return hydra_tree(planner, texts).get("mode") == "MULTIRUN"


def _is_sweep(planner: Planner, text: str) -> bool:
    return bool(parsed(planner, [text])[0].is_sweep_override())


def parsed(planner: Planner, texts: Sequence[str]) -> list[Override]:
    """Raises ConfigRefused with every text that is no override."""
    parser = OverridesParser.create(config_loader=Choices(planner.resolver.composer.groups))  # type: ignore[arg-type]
    found: list[Override] = []
    problems = []
    for text in texts:
        try:
            found += parser.parse_overrides([text])  # parse_override alone knows no glob
        except (HydraException, ValueError) as error:
            cause, fix = str(error).split("\n")[0], "write KEY=A,B or KEY=range(A,B)"
            problems.append(Problem("E-OVERRIDE", text, cause, fix, f"override {text}"))
    if problems:
        raise ConfigRefused(problems)
    return found


def space(planner: Planner, texts: Sequence[str], params: Mapping[str, Any]) -> list[Override]:
    """All overrides that are not Hydra's own, those of ``hydra.sweeper.params`` first.

    Trainings are what is mostly swept over: where nobody says the stage, it is the first of them, not the whole ladder.
    """
    keys = {text.lstrip("+~").partition("=")[0] for text in texts} | set(params)
    said = any(key in ("stage", "experiment") or key.startswith("up.") for key in keys)
    stage = () if said else (TRAINING,)
    return parsed(planner, [*stage, *(f"{key}={value}" for key, value in params.items()), *own_texts(texts)])


def own_texts(texts: Sequence[str]) -> list[str]:
    """What addresses albor and not Hydra."""
    return [text for text in texts if not is_hydra(text)]


def points(planner: Planner, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Override lists, one per point, in Hydra's order; ``hydra.sweeper.params`` are taken in."""
    parsed(planner, own_texts(texts))
    overrides = space(planner, texts, settings(planner, texts).params)
    refuse_intervals(overrides)
    found = product(overrides)
    if not found:
        raise ConfigRefused([without_value(override) for override in overrides if is_empty(override)])
    return found


def product(overrides: Sequence[Override]) -> list[tuple[str, ...]]:
    """Every combination of what is swept over, the last key's values in turn first, as Hydra's BasicSweeper has them.

    A key that is given again is what it is given last. Hydra takes that for a group's choice and the values beside it,
    too (``optim=muon optim={lr: 1e-2}``), and drops the choice; here both hold, as they do without a sweep.
    """
    found: dict[tuple[str, bool], list[tuple[str, ...]]] = {}
    for override in overrides:
        key, values = override.get_key_element(), gives_values(override)
        if override.is_sweep_override():
            found[key, values] = [(f"{key}={value}",) for value in override.sweep_string_iterator()]
            continue
        before = found.get((key, values), [])
        merged = before[0] if values and len(before) == 1 else ()
        found[key, values] = [(*merged, str(override.input_line))]
    return [tuple(itertools.chain(*point)) for point in itertools.product(*found.values())]


def gives_values(override: Override) -> bool:
    """Whether it merges values into a section, rather than choosing or setting it."""
    value = override.value()
    swept = value.list if isinstance(value, ChoiceSweep) else [value]
    return all(isinstance(one, dict) for one in swept)


def is_empty(override: Override) -> bool:
    return override.is_sweep_override() and next(override.sweep_string_iterator(), None) is None


def without_value(override: Override) -> Problem:
    cause, fix = "the sweep has no point: there is no value between the two ends", "range(A,B) ends before B"
    if isinstance(override.value(), Glob):
        cause, fix = "the sweep has no point: a glob matches nothing", "`albor ls GROUP` lists the choices"
    line = str(override.input_line)
    return Problem("E-OVERRIDE", override.key_or_group, cause, fix, f"override {line}")


def tried(planner: Planner, texts: Sequence[str]) -> tuple[list[tuple[str, ...]], str]:
    """What is planned before anything starts, and what it is called: all points, or the corners of a search's space."""
    asked = settings(planner, texts)
    if not isinstance(asked.sweeper, OptunaSweeper):
        return points(planner, texts), "point"
    return read_space(space(planner, texts, asked.params)).corners(), "corner"


def refuse_intervals(overrides: Sequence[Override]) -> None:
    """Raises ConfigRefused for what has no list of values."""
    fix = "add hydra/sweeper=optuna to search in it, or list values: KEY=A,B or KEY=range(A,B,STEP)"
    problems = [
        Problem("E-OVERRIDE", o.key_or_group, "an interval has no list of values", fix, f"override {o.input_line}")
        for o in overrides
        if isinstance(o.value(), IntervalSweep)
    ]
    if problems:
        raise ConfigRefused(problems)


def preflight(planner: Planner, expanded: Sequence[tuple[str, ...]]) -> Sweep:
    """Plans every point; nothing is written."""
    plans, refused = [], []
    for texts in expanded:
        try:
            plans.append(planner.plan(texts))
        except ConfigRefused as error:
            refused.append((texts, error.problems))
    return Sweep(plans, refused)
