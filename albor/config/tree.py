"""Plain config trees: values set copy-on-write, interpolations resolved, sections structured once.

A tree that differs from another in one section shares the other sections as objects. That is what makes the
ten-thousandth point of a sweep cheap: only what changed is structured and hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from albor.config.problems import ConfigRefused, Problem
from albor.config.schema.config import Config
from albor.config.structure import converter, hints, missing, unknown_keys

ENVIRONMENT = ("HOME", "USER", "TMPDIR", "SCRATCH", "HOSTNAME", "CUDA_VISIBLE_DEVICES")
"""What ${oc.env:…} may read, beside SLURM_*; a secret must not reach a saved config."""


def set_value(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``tree`` with ``value`` at the dotted ``path``; a mapping is merged into a mapping."""
    head, _, rest = path.partition(".")
    out = dict(tree)
    before = tree.get(head)
    if rest:
        if isinstance(before, list) and rest.partition(".")[0].isdigit():
            return out | {head: _set_item(before, rest, value)}
        out[head] = set_value(before if isinstance(before, dict) else {}, rest, value)
    elif isinstance(value, dict) and isinstance(before, dict):
        for key, item in value.items():
            before = set_value(before, key, item)
        out[head] = before
    else:
        out[head] = value
    return out


def _set_item(items: list[Any], path: str, value: Any) -> list[Any]:
    index, _, rest = path.partition(".")
    out, i = list(items), int(index)
    if i >= len(out):
        raise ConfigRefused([Problem("E-OVERRIDE", path, f"the list has {len(out)} items")])
    out[i] = set_value(out[i], rest, value) if rest and isinstance(out[i], dict) else value
    return out


def delete(tree: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy of ``tree`` without the key at ``path``; raises KeyError when it is not there."""
    head, _, rest = path.partition(".")
    if head not in tree:
        raise KeyError(path)
    if rest:
        return tree | {head: delete(tree[head], rest)}
    return {k: v for k, v in tree.items() if k != head}


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}[{i}]")
    else:
        yield path, value


def has_interpolation(value: Any) -> bool:
    return any(isinstance(leaf, str) and "${" in leaf for _, leaf in leaves(value))


def _environment(key: str, default: str | None = None) -> str | None:
    if key not in ENVIRONMENT and not key.startswith("SLURM_"):
        allowed = ", ".join(ENVIRONMENT)
        raise ValueError(f"the environment variable {key} may not enter a config (allowed: {allowed}, SLURM_*)")
    value = os.environ.get(key, default)
    if value is None:
        raise ValueError(f"the environment variable {key} is not set")
    return value


def resolve(tree: dict[str, Any]) -> dict[str, Any]:
    """The tree with every interpolation replaced. Raises ConfigRefused with one problem per bad one."""
    OmegaConf.register_new_resolver("oc.env", _environment, replace=True)
    try:
        config = OmegaConf.create(tree)
        resolved = OmegaConf.to_container(config, resolve=True)
        assert isinstance(resolved, dict)
        return resolved  # type: ignore[return-value]
    except (OmegaConfBaseException, ValueError, RecursionError):
        problems = [p for path, leaf in leaves(tree) if (p := _bad_interpolation(tree, path, leaf))]
        raise ConfigRefused(problems) from None


def _bad_interpolation(tree: dict[str, Any], path: str, leaf: Any) -> Problem | None:
    if not isinstance(leaf, str) or "${" not in leaf:
        return None
    try:
        OmegaConf.select(OmegaConf.create(tree), path, throw_on_resolution_failure=True)
    except (OmegaConfBaseException, ValueError, RecursionError) as error:
        cause = "points to itself" if isinstance(error, RecursionError) else str(error).split("\n")[0]
        return Problem("E-INTERPOLATION", path, f"{leaf} cannot be resolved: {cause}", "name a key that exists")
    return None


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
                problems += unknown_keys(key, value)
                continue
            made[key] = self._section(key, value, stage_schema if key == "stage" else types[key], problems)
        for f in fields(Config):
            if f.name not in tree and f.name in SECTIONS:
                problems.append(missing(f.name))
        return (None if problems else Config(**made)), problems

    def _section(self, key: str, value: Any, tp: Any, problems: list[Problem]) -> Any:
        if not isinstance(value, dict):
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


SECTIONS = ("model", "data", "tokenizer", "stage", "optim", "trainer", "eval", "tracking", "executor", "hardware")
