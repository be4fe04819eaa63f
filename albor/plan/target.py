"""One command line turned into a typed config for every stage of its target.

Value overrides reach the target, or the nearest stage upstream that reads the key. The choices of model, data,
tokenizer, hardware, executor, tracking and debug, and the seed, reach every stage. ``up.STAGE.KEY=…`` addresses one.
An experiment belongs to the stage that it names; only those choices of it go further.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.types import Override

from albor.config.compose import Composed, Composer
from albor.config.origins import Origins
from albor.config.overrides import Overrides, plain_value, split
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.config import Config
from albor.config.sections import Structurer
from albor.config.suggest import nearest, nearest_key
from albor.config.tree import delete, has_interpolation, resolve, set_value
from albor.plan.keys import valid_keys
from albor.stages import base as stages

CHAIN = ("model", "data", "tokenizer", "hardware", "executor", "tracking", "debug")
"""Groups whose choice reaches every stage."""
EVERYWHERE = ("seed", "outputs", "allow", "tracking", "executor", "hardware")
"""Keys whose value reaches every stage: the seed by convention, the others because they do not determine results."""
BUDGETS = tuple(f"trainer.{k}" for k in ("max_steps", "tokens", "tokens_per_param"))


@dataclass
class Resolver:
    """What the points of a sweep share: composed configs, structured sections, and what is read off them."""

    composer: Composer
    structurer: Structurer = field(default_factory=Structurer)
    interpolated: dict[int, bool] = field(default_factory=dict)
    configs: dict[Any, Config] = field(default_factory=dict)


@dataclass(frozen=True)
class StageConfig:
    """A stage's config and how it was chosen."""

    config: Config
    choices: dict[str, str | None]
    origins: Origins
    """Where its values came from."""


class Target:
    """The configs of one target's stages, made when asked for. Raises ConfigRefused with every problem."""

    def __init__(self, resolver: Resolver, texts: Sequence[str]) -> None:
        self.resolver = resolver
        self.texts = tuple(texts)
        composer = resolver.composer
        self.overrides = split(self.texts, composer.groups, composer.bad_choice)
        self.choices = {g: c for g, (c, _) in self.overrides.choices.items()}
        self.problems: list[Problem] = list(self.overrides.problems)
        whole = self._composed(self.choices)
        self.stage = str(whole.choices["stage"])
        self.experiment_stage = self._experiment_stage(whole)
        self.chain = {g: (whole.choices if self.choices.get("experiment") else self.choices).get(g) for g in CHAIN}
        self._levels = self._upstream_levels()
        self._route()

    def _composed(self, choices: dict[str, str | None]) -> Composed:
        return self.resolver.composer.compose(choices)

    def _experiment_stage(self, whole: Composed) -> str:
        """The stage that the chosen experiment belongs to; the target when there is none."""
        if not self.choices.get("experiment") or "stage" not in self.choices:
            return self.stage
        return str(self._composed({g: c for g, c in self.choices.items() if g != "stage"}).choices["stage"])

    def _upstream_levels(self) -> list[list[str]]:
        """Stages by distance from the target, found with the configs that the choices alone give."""
        self._values: dict[str, list[tuple[str, Override]]] = {}
        self._stage_choices: dict[str, dict[str, str | None]] = {}
        levels, seen = [[self.stage]], {self.stage}
        while True:
            wanted = [i for s in levels[-1] if (c := self._draft(s)) for i in stages.find(s).inputs(c).values()]
            level = [s for s in dict.fromkeys(wanted) if s not in seen]
            if not level:
                return levels
            seen.update(level)
            levels.append(level)

    def _draft(self, stage: str) -> Config | None:
        """A stage's config before values are routed to it; None when it has problems, which are reported later."""
        try:
            return self.config(stage).config
        except ConfigRefused:
            return None

    def _route(self) -> None:
        """Hands every value and every group choice that does not reach everything to the stage it is meant for."""
        levels, values = self._levels, {s: [] for level in self._levels for s in level}  # type: ignore[var-annotated]
        for key, override in self.overrides.values:
            for stage in self._receivers(key):
                values[stage].append((key, override))
        self._values = values
        for group in self.choices:
            if group in CHAIN or group in ("stage", "experiment"):
                continue
            for stage in self._receivers(group):
                self._stage_choices.setdefault(stage, {})[group] = self.choices[group]
        for stage in self.overrides.upstream:
            known = [s for level in levels for s in level]
            if stage not in known:
                guess = nearest(stage, known)
                fix = f"did you mean up.{guess}? " if guess else ""
                cause = f"'{stage}' is not a stage upstream of {self.stage}"
                self.problems.append(Problem("E-OVERRIDE", f"up.{stage}", cause, f"{fix}They are {', '.join(known)}"))

    def _receivers(self, key: str) -> list[str]:
        head = key.split(".")[0]
        if head in EVERYWHERE:
            return [s for level in self._levels for s in level]
        for level in self._levels:
            if head == "inputs":
                name = key.partition(".")[2]
                hit = [s for s in level if (c := self._draft(s)) and name in stages.find(s).inputs(c)]
            else:
                hit = [s for s in level if stages.find(s).reads_key(key)]
            if hit:
                return hit
        return [self.stage]

    def reaches(self, key: str) -> bool:
        """Whether any stage of the target reads the key."""
        stage_names = self._receivers(key)
        head = key.split(".")[0]
        return head in (*EVERYWHERE, "inputs", "name", "refused_by") or any(
            stages.find(s).reads_key(key) for s in stage_names
        )

    def stages(self) -> list[str]:
        """The target's stage and all upstream of it, nearest first."""
        return [s for level in self._levels for s in level]

    def check(self) -> list[Problem]:
        """Every problem of every stage, each once."""
        found = list(self.problems)
        for stage in self.stages():
            try:
                self.config(stage)
            except ConfigRefused as refused:
                found += refused.problems
        if not found:
            for key, override in self.overrides.values:
                if not self.reaches(key):
                    cause = f"nothing in stage={self.stage} or upstream of it depends on `{key}`"
                    fix = "choose another stage, or leave it out"
                    found.append(Problem("E-OVERRIDE", key, cause, fix, f"override {override.input_line}"))
        return list(dict.fromkeys(found))

    def config(self, stage: str) -> StageConfig:
        """The typed config of one stage. Raises ConfigRefused."""
        choices = dict(self.chain)
        if stage == self.experiment_stage:
            choices = {g: c for g, c in self.choices.items() if g in (*CHAIN, "experiment")}
        choices |= self._stage_choices.get(stage, {}) | {"stage": stage}
        texts = self.overrides.upstream.get(stage, [])
        own = split(tuple(texts), self.resolver.composer.groups, self.resolver.composer.bad_choice)
        choices |= {g: c for g, (c, _) in own.choices.items()}
        values = [*self._values.get(stage, []), *own.values]
        key = (tuple(sorted(choices.items(), key=str)), tuple(o.input_line for _, o in values))
        config = self.resolver.configs.get(key)
        composed = self._composed(choices)
        origins = Origins(composed, self.resolver.composer, values)
        if config is None:
            config = self._structure(stage, composed, values, own, origins)
            self.resolver.configs[key] = config
        return StageConfig(config, composed.choices, origins)

    def _structure(
        self, stage: str, composed: Composed, values: list[tuple[str, Override]], own: Overrides, origins: Origins
    ) -> Config:
        problems = list(own.problems)
        tree = apply_values(composed.tree, values, problems)
        if self._interpolated(composed) or any(has_interpolation(o.value()) for _, o in values):
            tree, unresolved = resolve(tree)
            problems += unresolved
        config, found = self.resolver.structurer(tree, stages.find(stage).config)
        if problems or found or config is None:
            raise ConfigRefused([explain(p, stage, origins) for p in (*problems, *found)])
        return config

    def _interpolated(self, composed: Composed) -> bool:
        known = self.resolver.interpolated
        if id(composed) not in known:
            known[id(composed)] = has_interpolation(composed.tree)
        return known[id(composed)]


def apply_values(
    tree: dict[str, Any], values: Sequence[tuple[str, Override]], problems: list[Problem]
) -> dict[str, Any]:
    """The tree with Hydra's value overrides in it: set, add, delete; one training budget displaces another."""
    given = {key for key, _ in values}
    for key, override in values:
        try:
            if override.is_delete():
                tree = delete(tree, key)
                continue
            if key in BUDGETS:
                for other in BUDGETS:
                    tree = tree if other in given else set_value(tree, other, None)
            tree = set_value(tree, key, plain_value(override))
        except KeyError:
            problems.append(Problem("E-KEY", key, f"`{key}` is not there to be deleted"))
        except ConfigRefused as refused:
            problems += refused.problems
    return tree


def explain(problem: Problem, stage: str, origins: Origins) -> Problem:
    """A problem with its origin, and for an unknown key the nearest valid one."""
    fix = problem.help
    if problem.code == "E-KEY" and fix is None:
        guess = nearest_key(problem.path, valid_keys(stage))
        fix = f"did you mean `{guess}`?" if guess else "`albor explain` lists the keys"
    return Problem(problem.code, problem.path, problem.cause, fix, problem.origin or origins.find(problem.path))
