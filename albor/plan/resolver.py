"""A composed tree and value overrides turned into a typed config, with what a sweep's points share kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hydra.core.override_parser.types import Override

from albor.config.compose import Composed, Composer
from albor.config.origins import Origins
from albor.config.overrides import plain_value
from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.config import Config
from albor.config.schema.trainer import BUDGETS
from albor.config.sections import Structurer
from albor.config.structure import MISSING, hints
from albor.config.suggest import nearest, nearest_key
from albor.config.tree import delete, has_interpolation, leaves, resolve, set_value
from albor.plan.keys import valid_keys
from albor.stages import base as stages

BUDGET_KEYS = tuple(f"trainer.{k}" for k in BUDGETS)
Values = Sequence[tuple[str, Override]]


@dataclass
class Resolver:
    """What the points of a sweep share: composed configs, structured sections, and what is read off them."""

    composer: Composer
    structurer: Structurer = field(default_factory=Structurer)
    configs: dict[Any, Config] = field(default_factory=dict)
    _interpolated: dict[int, bool] = field(default_factory=dict)
    _open: dict[int, tuple[str, ...]] = field(default_factory=dict)
    _reads: dict[tuple[str, str], bool] = field(default_factory=dict)

    def reads(self, stage: str, key: str) -> bool:
        """Whether the result of the stage depends on the key."""
        found = self._reads.get((stage, key))
        if found is None:
            found = self._reads[stage, key] = stages.find(stage).reads_key(key)
        return found

    def readers(self, key: str) -> list[str]:
        """Every stage whose result depends on the key."""
        return [name for name in stages.names() if self.reads(name, key)]

    def interpolated(self, composed: Composed) -> bool:
        known = self._interpolated
        if id(composed) not in known:
            known[id(composed)] = has_interpolation(composed.tree)
        return known[id(composed)]

    def fills(self, composed: Composed, key: str) -> bool:
        """Whether the files leave the key, or something below it, to the command line (``???``)."""
        known = self._open
        if id(composed) not in known:
            known[id(composed)] = tuple(path for path, leaf in leaves(composed.tree) if leaf == MISSING)
        return any(path == key or path.startswith(f"{key}.") for path in known[id(composed)])

    def structure(self, stage: str, composed: Composed, values: Values, origins: Origins) -> Config:
        """Raises ConfigRefused with every problem, each with its origin."""
        problems: list[Problem] = []
        tree = apply_values(composed.tree, values, problems)
        if self.interpolated(composed) or any(has_interpolation(o.value()) for _, o in values):
            tree, unresolved = resolve(tree)
            problems += unresolved
        config, found = self.structurer(tree, stages.find(stage).config)
        if problems or found or config is None:
            raise ConfigRefused([explain(p, stage, origins) for p in (*problems, *found)])
        return config


def apply_values(tree: dict[str, Any], values: Values, problems: list[Problem]) -> dict[str, Any]:
    """The tree with Hydra's value overrides in it: set, add, delete; one training budget displaces another."""
    given = {key for key, _ in values}
    for key, override in values:
        try:
            value = plain_value(override)
            if override.is_delete():
                rest = delete(tree, key)
                if value is not None and (now := value_at(tree, key)) != value:
                    cause = f"`{key}` is {now}, not {value}, and is not deleted"
                    problems.append(Problem("E-OVERRIDE", key, cause, f"write ~{key}"))
                else:
                    tree = rest
                continue
            if key in BUDGET_KEYS and value is not None:
                for other in BUDGET_KEYS:
                    tree = tree if other in given else set_value(tree, other, None)
            tree = set_value(tree, key, value)
        except KeyError:
            problems.append(Problem("E-KEY", key, f"`{key}` is not there to be deleted", "leave it out"))
        except ConfigRefused as refused:
            problems += [replace(p, path=key) for p in refused.problems]
    return tree


def value_at(tree: Any, path: str) -> Any:
    for part in path.split("."):
        tree = tree[part]
    return tree


def explain(problem: Problem, stage: str, origins: Origins) -> Problem:
    """A problem with its origin, and for an unknown key the nearest valid one."""
    fix = problem.help
    if problem.code == "E-KEY" and fix is None:
        head = problem.path.partition(".")[0]
        if head in origins.composer.groups and not hasattr(Config, head) and head not in hints(Config):
            # A file of a group that is no section of the config sets its keys from the top.
            return replace(problem, help="begin the file with `# @package _global_`", origin=origins.find(problem.path))
        if problem.path in valid_keys(stage):
            section = problem.path.rpartition(".")[0]
            cause = f"`{problem.path}` is a key of another {section} than the chosen one"
            return replace(problem, cause=cause, help=f"choose the one that has it (`albor ls {head}`)",
                           origin=origins.find(problem.path))  # fmt: skip
        groups = [] if "." in problem.path else list(origins.composer.groups)
        guess = nearest_key(problem.path, [*valid_keys(stage), *groups])
        fix = f"did you mean `{guess}`?" if guess else "`albor explain` lists the keys"
    elif problem.code == "E-MISSING" and (guess := alert_meant(problem.path, origins.composed)):
        fix = f"did you mean `alerts.{guess}`? For another alert, {fix}"
    elif fix is None and problem.code in ("E-TYPE", "E-RANGE"):
        fix = f"`albor explain {problem.path.partition('[')[0]}` says what it takes"
    return Problem(problem.code, problem.path, problem.cause, fix, problem.origin or origins.find(problem.path))


def alert_names(composed: Composed) -> list[str]:
    """The alerts that the files set."""
    return list(composed.tree.get("alerts") or {})


def alert_meant(path: str, composed: Composed) -> str | None:
    """The alert of the files that is nearest to the one of ``path``, which the files do not have."""
    section, _, rest = path.partition(".")
    name, names = rest.partition(".")[0], alert_names(composed)
    return nearest(name, names) if section == "alerts" and name not in names else None
