"""What verbs that plan have in common: the composer of this command line's search path, and a planner on it."""

from __future__ import annotations

from albor.cli.arguments import Arguments
from albor.config.compose import Composer
from albor.config.overrides import parse, plain_value
from albor.config.problems import ConfigRefused, Problem
from albor.plan.nodes import Planner
from albor.plan.resolver import Resolver


def search_path(arguments: Arguments) -> list[str]:
    """--config-dir, then hydra.searchpath: both lie before our own directory."""
    found = list(arguments.config_dirs)
    for text in arguments.overrides:
        if text.lstrip("+").startswith("hydra.searchpath="):
            value = plain_value(parse(text))
            if not isinstance(value, list):
                fix = "write hydra.searchpath=[DIR]"
                raise ConfigRefused(
                    [Problem("E-OVERRIDE", "hydra.searchpath", "a list is wanted", fix, f"override {text}")]
                )
            found += [str(v) for v in value]
    return found


def planner(arguments: Arguments) -> Planner:
    return Planner(Resolver(Composer(search_path(arguments))))
