"""A whole config from its sections. Free of Hydra: ranks and stage processes read manifests with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from albor.config.problems import Problem
from albor.config.schema.config import Config
from albor.config.structure import UNRESOLVED, converter, hints, missing, unknown_keys

SECTIONS = ("model", "data", "tokenizer", "stage", "optim", "trainer", "eval", "tracking", "executor", "hardware")


class Structurer:
    """Turns trees into Configs, remembering sections it has seen (by identity; it keeps them alive)."""

    def __init__(self) -> None:
        self._sections: dict[tuple[int, type | str], tuple[Any, Any, list[Problem]]] = {}

    def __call__(self, tree: Mapping[str, Any], stage_schema: type) -> tuple[Config | None, list[Problem]]:
        """The config and the problems; the config is None when there are problems."""
        problems: list[Problem] = []
        made: dict[str, Any] = {}
        types = hints(Config)
        for key, value in tree.items():
            if key not in types:
                problems += unknown_keys(str(key), value)
                continue
            made[key] = self._section(key, value, stage_schema if key == "stage" else types[key], problems)
        for f in fields(Config):
            if f.name not in tree and f.name in SECTIONS:
                problems.append(missing(f.name))
        return (None if problems else Config(**made)), problems

    def _section(self, key: str, value: Any, tp: Any, problems: list[Problem]) -> Any:
        if not isinstance(value, dict):
            if value is UNRESOLVED:
                return None
            if value == "???":
                problems.append(missing(key))
                return None
            return converter(tp)(value, key, problems)
        cached = self._sections.get((id(value), key if key != "stage" else tp))
        if cached is None:
            found: list[Problem] = []
            cached = (value, converter(tp)(value, key, found), found)
            self._sections[(id(value), key if key != "stage" else tp)] = cached
        problems += cached[2]
        return cached[1]
