"""Plain config trees: values set copy-on-write, interpolations resolved.

A tree that differs from another in one section shares the other sections as objects. That is what makes the
ten-thousandth point of a sweep cheap: only what changed is structured and hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException

from albor.config.problems import ConfigRefused, Problem
from albor.config.structure import UNRESOLVED

ENVIRONMENT = ("HOME", "USER", "TMPDIR", "SCRATCH", "HOSTNAME", "CUDA_VISIBLE_DEVICES")
"""What ${oc.env:…} may read, beside SLURM_*; a secret must not reach a saved config."""

UNRESOLVABLE = (OmegaConfBaseException, ValueError, RecursionError)


def set_value(tree: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """A copy of ``tree`` with ``value`` at the dotted ``path``; a mapping is merged into a mapping."""
    head, _, rest = path.partition(".")
    out = dict(tree)
    before = tree.get(head)
    out[head] = _set_below(before, rest, value) if rest else _merged(before, value)
    return out


def _set_below(before: Any, path: str, value: Any) -> Any:
    """What stands in a key's place once ``value`` is set at the path below it; plain values make way for a mapping."""
    if isinstance(before, list) and path.partition(".")[0].isdigit():
        return _set_item(before, path, value)
    return set_value(before if isinstance(before, dict) else {}, path, value)


def _merged(before: Any, value: Any) -> Any:
    if not isinstance(before, dict) or not isinstance(value, dict):
        return value
    return before | {key: _merged(before.get(key), item) for key, item in value.items()}


def _set_item(items: list[Any], path: str, value: Any) -> list[Any]:
    index, _, rest = path.partition(".")
    out, i = list(items), int(index)
    if i >= len(out):
        raise ConfigRefused([Problem("E-OVERRIDE", path, f"the list has {len(out)} items")])
    out[i] = _set_below(out[i], rest, value) if rest else value
    return out


def delete(tree: dict[str, Any], path: str) -> dict[str, Any]:
    """A copy of ``tree`` without the key at ``path``; raises KeyError when it is not there."""
    head, _, rest = path.partition(".")
    if not isinstance(tree, dict) or head not in tree:
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


def guard_environment() -> None:
    """Makes ${oc.env:…} read the allowed variables only, in defaults lists too."""
    OmegaConf.register_new_resolver("oc.env", _environment, replace=True)


def _environment(key: str, default: str | None = None) -> str | None:
    if key not in ENVIRONMENT and not key.startswith("SLURM_"):
        allowed = ", ".join(ENVIRONMENT)
        raise ValueError(f"the environment variable {key} may not enter a config (allowed: {allowed}, SLURM_*)")
    value = os.environ.get(key, default)
    if value is None:
        raise ValueError(f"the environment variable {key} is not set")
    return value


def resolve(tree: dict[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The tree with every interpolation replaced, and one problem per bad one; those leaves become UNRESOLVED."""
    try:
        return _resolved(tree), []
    except UNRESOLVABLE:
        rest = tree
    problems: list[Problem] = []
    for wrong in (_malformed, _bad_interpolation):
        found = [p for path, text in _interpolations(rest) if (p := wrong(rest, path, text))]
        for problem in found:
            rest = set_value(rest, problem.path, None)
        problems += found
    try:
        rest = _resolved(rest)
    except UNRESOLVABLE:
        # A circle through a whole section: no leaf of it is bad alone.
        cause, fix = "it is part of a circle", "correct it, or give a plain value"
        for path, _ in _interpolations(rest):
            problems.append(Problem("E-INTERPOLATION", path, f"cannot be resolved: {cause}", fix))
    for problem in problems:
        rest = set_value(rest, problem.path, UNRESOLVED)
    return rest, problems


def _interpolations(tree: dict[str, Any]) -> list[tuple[str, str]]:
    """(dotted path, text) of every leaf that holds an interpolation."""
    found = [(path, leaf) for path, leaf in leaves(tree) if isinstance(leaf, str) and "${" in leaf]
    return [(path.replace("[", ".").replace("]", ""), text) for path, text in found]


def _resolved(tree: dict[str, Any]) -> dict[str, Any]:
    resolved = OmegaConf.to_container(OmegaConf.create(tree), resolve=True)
    assert isinstance(resolved, dict)
    return resolved  # type: ignore[return-value]


def _malformed(tree: dict[str, Any], path: str, text: str) -> Problem | None:
    """OmegaConf reads no tree with a malformed interpolation in it, so these come first, each by itself."""
    try:
        OmegaConf.create([text])
    except OmegaConfBaseException as error:
        return _unresolvable(path, text, error)
    return None


def _bad_interpolation(tree: dict[str, Any], path: str, text: str) -> Problem | None:
    try:
        OmegaConf.select(OmegaConf.create(tree), path, throw_on_resolution_failure=True)
    except InterpolationToMissingValueError:
        return Problem("E-MISSING", path, f"{text} points to a value that is not given", "give it, or give this one")
    except UNRESOLVABLE as error:
        return _unresolvable(path, text, error)
    return None


def _unresolvable(path: str, text: str, error: Exception) -> Problem:
    cause = "it points to itself" if isinstance(error, RecursionError) else str(error).split("\n")[0]
    cause = cause.removeprefix("ValueError raised while resolving interpolation: ")
    return Problem("E-INTERPOLATION", path, f"{text} cannot be resolved: {cause}", "correct it, or give a plain value")
