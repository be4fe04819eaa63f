"""Every valid dotted key, with its type, default and help: read off the schemas."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from albor.config.docstrings import field_docs
from albor.config.schema.config import Config
from albor.config.schema.sweep import Launcher, Sweeper
from albor.config.structure import hints, range_of
from albor.config.types import Unit
from albor.stages import base as stages

NAME = "NAME"
"""Stands for the name that a user gives to an entry of a mapping: ``alerts.NAME.above``."""


@dataclass(frozen=True)
class Key:
    """A key of the config."""

    path: str
    type: str
    default: Any
    help: str
    owner: str
    """The schema that defines it; several, when variants of a union share it."""
    required: bool
    """Whether YAML or the command line must give it."""
    values: tuple[str, ...] = ()
    """All that it may be, where they are few."""


def _schemas(tp: Any) -> list[type]:
    """The dataclasses inside a type: itself, the members of a union."""
    if isinstance(tp, type):
        return [tp] if dataclasses.is_dataclass(tp) else []
    if get_origin(tp) in (types.UnionType, Union):
        return [s for a in get_args(tp) for s in _schemas(a)]
    return []


def values_of(tp: Any) -> tuple[str, ...]:
    if get_origin(tp) is Literal:
        return tuple(map(str, get_args(tp)))
    return ("true", "false") if tp is bool or (get_origin(tp) is Annotated and get_args(tp)[0] is bool) else ()


def type_name(tp: Any) -> str:
    """A type as a user would say it: "number > 0", "one of cosine, linear"."""
    origin, args = get_origin(tp), get_args(tp)
    if origin is Annotated:
        unit = next((e.dimension for e in args[1:] if isinstance(e, Unit)), None)
        example = {"count": ', or "1B"', "bytes": ', or "512MiB"', "seconds": ', or "2h"', None: ""}[unit]
        return f"{type_name(args[0])} {range_of(args[1:])}".strip() + example
    if origin is Literal:
        return f"one of {', '.join(map(str, args))}" if len(args) > 1 else str(args[0])
    if origin in (types.UnionType, Union):
        return " or ".join(type_name(a) for a in args)
    if origin is tuple:
        return f"list of {type_name(args[0])}"
    if origin is dict:
        return f"mapping to {type_name(args[1])}"
    if isinstance(tp, type) and dataclasses.is_dataclass(tp):
        return tp.__name__
    return {int: "whole number", float: "number", str: "text", bool: "true or false"}.get(tp, "null")


def walk(cls: type, prefix: str = "", *, entries: bool = False) -> Iterator[Key]:
    """Every leaf key below a schema, all variants of a union included; with ``entries`` also those of a mapping's
    entries, which stand below ``NAME``."""
    docs = field_docs(cls)
    for f in dataclasses.fields(cls):
        path = f"{prefix}{f.name}"
        tp = hints(cls)[f.name]
        inner = _schemas(tp)
        default = f.default if f.default is not dataclasses.MISSING else None
        if f.default_factory is not dataclasses.MISSING:
            default = None if inner else f.default_factory()
        for schema in inner:
            yield from walk(schema, f"{path}.", entries=entries)
        if not inner:
            required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
            yield Key(path, type_name(tp), default, docs.get(f.name, ""), cls.__name__, required, values_of(tp))
        if entries and get_origin(tp) is dict:
            for schema in _schemas(get_args(tp)[1]):
                yield from walk(schema, f"{path}.{NAME}.", entries=True)


@cache
def keys(stage: str | None = None) -> dict[str, Key]:
    """Dotted path to key; the keys of one stage's own section, or of every stage's."""
    found = by_path(k for k in walk(Config) if k.path != "stage")
    for name in (stage,) if stage else stages.names():
        found |= by_path(walk(stages.find(name).config, "stage."))
    return found


@cache
def entry_keys() -> dict[str, Key]:
    """The keys of the entries of mappings, with NAME for an entry's name."""
    return by_path(k for k in walk(Config, entries=True) if f".{NAME}." in k.path)


@cache
def sweep_keys() -> dict[str, Key]:
    """The keys of a sweep: how it finds its points, and where they run."""
    return by_path(walk_sweep())


def walk_sweep() -> Iterator[Key]:
    for section, schemas in (("launcher", Launcher), ("sweeper", Sweeper)):
        for schema in _schemas(schemas):
            yield from walk(schema, f"hydra.{section}.")


def by_path(found: Iterable[Key]) -> dict[str, Key]:
    """Path to key. What several variants of a union have in common is one key; of what differs, the last one's."""
    known: dict[str, Key] = {}
    for key in found:
        known[key.path] = _shared(known[key.path], key) if key.path in known else key
    return known


def _shared(one: Key, other: Key) -> Key:
    if one.help != other.help:
        return other
    values = tuple(dict.fromkeys(one.values + other.values))
    owners = dict.fromkeys([*one.owner.split(", "), other.owner])
    return dataclasses.replace(
        other,
        type=f"one of {', '.join(values)}" if len(values) > 1 and values != other.values else other.type,
        required=one.required or other.required or one.default != other.default,
        owner=", ".join(owners),
        values=values,
    )


def generic(path: str) -> str:
    """The path with NAME in the place of an entry's name: alerts.loss_spike.above → alerts.NAME.above."""
    for mapping in {k.partition(f".{NAME}.")[0] for k in entry_keys()}:
        if path.startswith(f"{mapping}."):
            rest = path.removeprefix(f"{mapping}.").partition(".")[2]
            return f"{mapping}.{NAME}" + (f".{rest}" if rest else "")
    return path


def valid_keys(stage: str) -> list[str]:
    return list(keys(stage))
