"""Hydra's override grammar, split by what an override addresses."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException

from albor.config.problems import ConfigRefused, Problem
from albor.config.suggest import nearest


@lru_cache(maxsize=1)
def _parser() -> OverridesParser:
    return OverridesParser.create()


@cache
def parse(text: str) -> Override:
    """One override, parsed once however many points of a sweep carry it. Raises ConfigRefused."""
    try:
        return _parser().parse_override(text)
    except (HydraException, ValueError) as error:
        cause = str(error).split("\n")[0]
        fix = "write KEY=VALUE; quote a value with blanks, commas or brackets: 'key=\"a, b\"'"
        raise ConfigRefused([Problem("E-OVERRIDE", text, cause, fix, f"override {text}")]) from None


@dataclass
class Overrides:
    """A command line's overrides: choices of groups, values, values and choices for one upstream stage, inputs,
    and what is Hydra's own."""

    choices: dict[str, tuple[str | None, str]] = field(default_factory=dict)
    """Group to (choice, the override's text)."""
    values: list[tuple[str, Override]] = field(default_factory=list)
    """Dotted key and override."""
    upstream: dict[str, list[str]] = field(default_factory=dict)
    """Stage to overrides as if it were the target."""
    hydra: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def is_hydra(text: str) -> bool:
    """Whether an override addresses Hydra itself: hydra.KEY=… or hydra/GROUP=…"""
    return re.match(r"[+~]*hydra(?=[./@=]|$)", text) is not None


HYDRA = ("launcher", "mode", "searchpath", "sweeper")
"""The sections of Hydra's own config that are used."""
GROUPS = ("hydra/launcher", "hydra/sweeper")
"""What says how a sweep is run."""
HYDRA_PLACES = ("run", "sweep", "output_subdir")
"""Those that would say where Hydra writes."""


def check_hydra(text: str) -> list[Problem]:
    """An override of Hydra's own config is of a section that says something here; what, is for others to judge."""
    section = re.split(r"[.=@]", text.lstrip("+~").removeprefix("hydra").lstrip("./"))[0]
    if section == "mode" and text.partition("=")[2] not in ("RUN", "MULTIRUN"):
        return [Problem("E-VALUE", "hydra.mode", "it is RUN or MULTIRUN", "hydra.mode=MULTIRUN", f"override {text}")]
    if section == "sweeper" and "params" in text:
        fix = "write KEY=A,B; an experiment may set hydra.sweeper.params"
        return [Problem("E-OVERRIDE", "hydra.sweeper.params", "not on the command line", fix, f"override {text}")]
    if section in HYDRA:
        return []
    if section in HYDRA_PLACES:
        cause = "runs are kept by what they are made from, below one directory"
        return [Problem("E-OVERRIDE", f"hydra.{section}", cause, "outputs=DIR", f"override {text}")]
    guess = nearest(section, HYDRA)
    fix = f"did you mean hydra.{guess}?" if guess else f"they are {', '.join(HYDRA)}"
    return [
        Problem("E-KEY", f"hydra.{section}", "not a section of Hydra's config that is used", fix, f"override {text}")
    ]


def refuse_without_sweep(texts: Sequence[str]) -> None:
    """Where there is no sweep, nothing is said of how one is run. Raises ConfigRefused."""
    told = {text: text.lstrip("+").partition("=")[0].replace("hydra.", "hydra/").split(".")[0] for text in texts}
    cause = "says how a sweep is run, and this is none"
    problems = [
        Problem("E-OVERRIDE", group, cause, "add -m", f"override {text}")
        for text, group in told.items()
        if group in GROUPS
    ]
    if problems:
        raise ConfigRefused(problems)


SEVERAL = "task"
"""The group of which several choices may be taken: task=[humaneval,mbpp]."""
BadChoice = Callable[[str, str, str | None], Problem]


def split(texts: tuple[str, ...], groups: Mapping[str, list[str]], bad_choice: BadChoice) -> Overrides:
    """Sorts overrides by what they address; problems are collected, not raised."""
    out = Overrides()
    for text in texts:
        if is_hydra(text):
            out.hydra.append(text)
            out.problems += check_hydra(text)
            group, _, choice = text.lstrip("+").partition("=")
            if group in groups and choice not in groups[group]:
                out.problems.append(bad_choice(group, choice, f"override {text}"))
            continue
        prefix, plain = text[: len(text) - len(text.lstrip("+~"))], text.lstrip("+~")
        if plain.startswith("up."):
            stage, dot, rest = plain.removeprefix("up.").partition(".")
            if not dot or "=" in stage:
                out.problems.append(
                    Problem(
                        "E-OVERRIDE", text, "names no key of the stage", "write up.STAGE.KEY=VALUE", f"override {text}"
                    )
                )
                continue
            out.upstream.setdefault(stage, []).append(f"{'~' if prefix == '~' else ''}{rest}")
            continue
        try:
            override = parse(text)
        except ConfigRefused as refused:
            out.problems += refused.problems
            continue
        _sort(override, text, groups, bad_choice, out)
    return out


def _sort(
    override: Override, text: str, groups: Mapping[str, list[str]], bad_choice: BadChoice, out: Overrides
) -> None:
    key = override.key_or_group
    origin = f"override {text}"
    if override.is_sweep_override():
        fix = "add -m to run one job per value, or quote the value"
        out.problems.append(Problem("E-OVERRIDE", key, "several values, but this is not a sweep", fix, origin))
        return
    if not key:
        out.problems.append(Problem("E-OVERRIDE", text, "names no key", "write KEY=VALUE", origin))
        return
    if override.package is not None:
        fix = f"write {key}=…"
        out.problems.append(Problem("E-OVERRIDE", key, "a group's place in the config cannot be moved", fix, origin))
        return
    value = None if override.is_delete() else override.value()
    if isinstance(value, dict) and value:
        out.values += list(_leaves(key, override, value))
    elif key not in groups or isinstance(value, dict):
        out.values.append((key, override))
    elif value is None or isinstance(value, (str, int, float)):
        choice = None if value is None else str(value)
        if choice is not None and choice not in groups[key]:
            out.problems.append(bad_choice(key, choice, origin))
            return
        out.choices[key] = (choice, text)
    elif key == SEVERAL and isinstance(value, list) and value:
        chosen = [str(choice) for choice in value]
        if wrong := [bad_choice(key, choice, origin) for choice in chosen if choice not in groups[key]]:
            out.problems += wrong
            return
        out.choices[key] = (f"[{','.join(chosen)}]", text)
    else:
        cause = f"one choice of {key} is wanted, got {value}"
        out.problems.append(Problem("E-CHOICE", key, cause, f"write {key}=CHOICE", origin))


def _leaves(key: str, override: Override, value: Mapping[Any, Any]) -> Iterator[tuple[str, Override]]:
    """A mapping as one override per leaf: different stages may read them."""
    for name, item in value.items():
        path = f"{key}.{name}"
        if isinstance(item, dict) and item:
            yield from _leaves(path, override, item)
        else:
            yield path, replace(override, key_or_group=path, _value=item)


def plain_value(override: Override) -> Any:
    """The override's value as plain data: quoted strings become text."""
    return _plain(override.value())


def _plain(value: Any) -> Any:
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
