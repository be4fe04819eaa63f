"""A sweep's points: expanded as Hydra's own sweeper expands them, every one planned before the first is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from albor.config.overrides import check_hydra, is_hydra, split
from albor.config.problems import ConfigRefused, Problem
from albor.plan.nodes import Plan, Planner


@dataclass(frozen=True)
class Sweep:
    """Planned points, and the problems of those that cannot be."""

    plans: list[Plan]
    refused: list[tuple[tuple[str, ...], list[Problem]]]


@dataclass(frozen=True)
class Choices:
    """What a glob asks of Hydra's loader. Hydra's own lists the files of one directory, so that
    ``experiment=glob(original/*)`` would match nothing."""

    groups: dict[str, list[str]]

    def get_group_options(self, group_name: str, **_: object) -> list[str]:
        return self.groups.get(group_name, [])


def hydra_settings(planner: Planner, texts: Sequence[str]) -> dict[str, object]:
    """The ``hydra`` node of the composed config: an experiment may ask for a sweep there."""
    composer = planner.resolver.composer
    fixed = tuple(t for t in texts if not _is_sweep(planner, t))
    choices = {g: c for g, (c, _) in split(fixed, composer.groups, composer.bad_choice).choices.items()}
    return composer.compose(choices).hydra


def asks_for_sweep(planner: Planner, texts: Sequence[str]) -> bool:
    """Whether the chosen experiment sets ``hydra.mode: MULTIRUN``, or the command line does."""
    if any(t.lstrip("+") == "hydra.mode=MULTIRUN" for t in texts):
        return True
    if not any("experiment=" in t for t in texts):
        return False
    return hydra_settings(planner, texts).get("mode") == "MULTIRUN"


def _is_sweep(planner: Planner, text: str) -> bool:
    return bool(_parse(planner, [text])[0].is_sweep_override())


def _parse(planner: Planner, texts: Sequence[str]):  # type: ignore[no-untyped-def]
    parser = OverridesParser.create(config_loader=Choices(planner.resolver.composer.groups))  # type: ignore[arg-type]
    parsed, problems = [], []
    for text in texts:
        try:
            parsed += parser.parse_overrides([text])  # parse_override alone knows no glob
        except (HydraException, ValueError) as error:
            cause, fix = str(error).split("\n")[0], "write KEY=A,B or KEY=range(A,B)"
            problems.append(Problem("E-OVERRIDE", text, cause, fix, f"override {text}"))
    if problems:
        raise ConfigRefused(problems)
    return parsed


def points(planner: Planner, texts: Sequence[str]) -> list[tuple[str, ...]]:
    """Override lists, one per point, in Hydra's order; ``hydra.sweeper.params`` are taken in."""
    own = [t for t in texts if not is_hydra(t)]
    if problems := [p for t in texts if is_hydra(t) for p in check_hydra(t)]:
        raise ConfigRefused(problems)
    _parse(planner, own)
    sweeper = hydra_settings(planner, own).get("sweeper")
    params = sweeper.get("params") if isinstance(sweeper, dict) else None
    texts = [*(f"{k}={v}" for k, v in (params or {}).items()), *own]
    batches = BasicSweeper.split_arguments(_parse(planner, texts), max_batch_size=None)
    found = [tuple(point) for batch in batches for point in batch]
    if not found:
        cause, fix = "the sweep has no point: a glob matches nothing", "`albor ls GROUP` lists the choices"
        raise ConfigRefused([Problem("E-OVERRIDE", " ".join(own), cause, fix)])
    return found


def preflight(planner: Planner, expanded: Sequence[tuple[str, ...]]) -> Sweep:
    """Plans every point; nothing is written."""
    plans, refused = [], []
    for texts in expanded:
        try:
            plans.append(planner.plan(texts))
        except ConfigRefused as error:
            refused.append((texts, error.problems))
    return Sweep(plans, refused)
