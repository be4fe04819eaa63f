"""Plain data to frozen dataclasses, with every problem found on the way.

Converters are compiled once per type. A section that is the same object as one already structured is not
structured again: a sweep's points share most of their sections (see ``compose.py``).
"""

from __future__ import annotations

import dataclasses
import math
import operator
import re
import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Interval, Le, Lt, MinLen

from albor.config.licences import hub_key, instead
from albor.config.problems import Problem
from albor.config.suggest import nearest
from albor.config.types import Named, OfTheHub, Or, Recorded, Unit
from albor.config.units import parse_quantity

MISSING = "???"
UNRESOLVED = object()
"""Stands for a value whose interpolation failed: reported already, but given."""
Converter = Callable[[Any, str, list[Problem]], Any]
NAME = re.compile(r"\w[\w.+@-]{0,99}")
NAMES: dict[type, str] = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def describe(value: Any) -> str:
    if isinstance(value, bool):
        return f"{str(value).lower()} (a switch)"
    if isinstance(value, str):
        return f"'{value}' (text)" if len(value) < 60 else f"'{value[:57]}…' (text)"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "a mapping"
    return "a list" if isinstance(value, (list, tuple)) else str(value)


def is_not_finite(value: Any) -> bool:
    """NaN and infinities, also as YAML spells them; Hydra's grammar hands `.nan` over as text."""
    if isinstance(value, str):
        return value.lower().lstrip("+-").lstrip(".") in ("nan", "inf")
    return isinstance(value, float) and not math.isfinite(value)


def _scalar(kind: type) -> Converter:
    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if kind is bool and isinstance(value, bool):
            return value
        if kind is str and isinstance(value, str):
            return value
        if kind in (int, float) and is_not_finite(value):
            problems.append(Problem("E-RANGE", path, f"{value} is not a finite number", "give a plain number"))
            return None
        if kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool):
            if kind is float:
                return float(value)
            if value == int(value):
                return int(value)
        quotable = kind is str and value is not None and not isinstance(value, (Mapping, list))
        fix = f"quote it: '{path}=\"{str(value).lower()}\"'" if quotable else None  # true as YAML has it
        if kind is bool and isinstance(value, str) and (guess := nearest(value, ("true", "false"))):
            fix = f"did you mean '{guess}'?"
        problems.append(Problem("E-TYPE", path, f"expected {NAMES[kind]}, got {describe(value)}", fix))
        return None

    return convert


Bound = tuple[str, float, Callable[[Any, Any], bool]]
COMPARISONS: dict[type, tuple[str, str, Callable[[Any, Any], bool]]] = {
    Gt: ("gt", ">", operator.gt),
    Ge: ("ge", "≥", operator.ge),
    Lt: ("lt", "<", operator.lt),
    Le: ("le", "≤", operator.le),
}


def bounds_of(constraints: tuple[Any, ...]) -> list[Bound]:
    """(sign, bound, comparison) of every range constraint among a type's annotations."""
    parts = [p for c in constraints for p in (c if isinstance(c, Interval) else [c])]
    found = []
    for part in parts:
        if type(part) in COMPARISONS:
            attribute, sign, compare = COMPARISONS[type(part)]
            found.append((sign, getattr(part, attribute), compare))
    return found


def range_of(constraints: tuple[Any, ...]) -> str:
    """The numbers that a type's annotations allow: ``≥ 0 and ≤ 1``, ``> 0, or -1 for one per core``."""
    bounds = " and ".join(f"{sign} {bound:g}" for sign, bound, _ in bounds_of(constraints))
    return ", or ".join([bounds, *(f"{e.value} for {e.meaning}" for e in constraints if isinstance(e, Or))])


def _annotated(base: Any, extras: tuple[Any, ...]) -> Converter:
    inner = converter(base)
    unit = next((e for e in extras if isinstance(e, Unit)), None)
    bounds = bounds_of(extras)
    shortest = next((e.min_length for e in extras if isinstance(e, MinLen)), 0)
    beside = next((e for e in extras if isinstance(e, Or)), None)
    wanted = range_of(extras)
    named = any(isinstance(e, Named) for e in extras)
    licence = any(isinstance(e, OfTheHub) for e in extras)

    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if unit is not None and isinstance(value, str):
            try:
                value = parse_quantity(value, unit.dimension)
            except ValueError as error:
                problems.append(Problem("E-TYPE", path, str(error)))
                return None
        seen = len(problems)
        result = inner(value, path, problems)
        if len(problems) > seen or result is None or (beside is not None and result == beside.value):
            return result
        if not all(compare(result, bound) for _, bound, compare in bounds):
            problems.append(Problem("E-RANGE", path, f"{result:g} is out of range; it must be {wanted}"))
        elif shortest and len(result) < shortest:
            problems.append(Problem("E-RANGE", path, "must not be empty"))
        elif named and not NAME.fullmatch(result):
            cause, fix = f"{describe(result)} cannot name a directory", "use at most 100 letters, digits and . _ + - @"
            problems.append(Problem("E-RANGE", path, cause, fix))
        elif licence and (key := hub_key(result)) is None:
            cause = f"{describe(result)} is no licence that the Hub knows"
            problems.append(Problem("E-VALUE", path, cause, instead(result)))
        elif licence:
            return key
        return result

    return convert


def _literal(choices: tuple[Any, ...]) -> Converter:
    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if value in choices and not isinstance(value, bool):
            return value
        guess = nearest(str(value), [str(c) for c in choices])
        listed = ", ".join(map(str, choices))
        fix = f"did you mean '{guess}'? The values are {listed}" if guess else f"the values are {listed}"
        problems.append(Problem("E-VALUE", path, f"{describe(value)} is not a value of {path}", fix))
        return None

    return convert


def _sequence(args: tuple[Any, ...]) -> Converter:
    variadic = len(args) == 2 and args[1] is Ellipsis
    items = [converter(a) for a in args if a is not Ellipsis]

    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, (list, tuple)):
            problems.append(Problem("E-TYPE", path, f"expected a list, got {describe(value)}", f"write {path}=[…]"))
            return None
        if not variadic and len(value) != len(items):
            problems.append(Problem("E-TYPE", path, f"expected {len(items)} values, got {len(value)}"))
            return None
        return tuple(items[0 if variadic else i](v, f"{path}[{i}]", problems) for i, v in enumerate(value))

    return convert


def _mapping(item: Any) -> Converter:
    inner = converter(item)

    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, Mapping):
            problems.append(Problem("E-TYPE", path, f"expected a mapping, got {describe(value)}"))
            return None
        made = {}
        for key, entry in value.items():
            seen = len(problems)
            made[str(key)] = inner(entry, f"{path}.{key}", problems)
            # The entry's name is the user's own, so only here is it known which keys it may have.
            problems[seen:] = [_named(p, f"{path}.{key}", item) for p in problems[seen:]]
        return made

    return convert


def _named(problem: Problem, entry: str, item: Any) -> Problem:
    """The problem with the nearest key of an entry's schema, if it is an unknown key of the entry itself."""
    key = problem.path.removeprefix(f"{entry}.")
    schemas = [tp for tp in (item, *get_args(item)) if dataclasses.is_dataclass(tp)]
    known = [f.name for schema in schemas for f in dataclasses.fields(schema)]
    if problem.code != "E-KEY" or "." in key or not known:
        return problem
    guess = nearest(key, known)
    fix = f"did you mean `{entry}.{guess}`?" if guess else f"the keys of {entry} are {', '.join(known)}"
    return dataclasses.replace(problem, help=fix)


def discriminator(cls: type) -> tuple[str, str] | None:
    """The field that tells a schema from its siblings, and its value: ("kind", "bpe")."""
    for name, hint in hints(cls).items():
        if get_origin(hint) is Literal and name in ("kind", "name") and len(get_args(hint)) == 1:
            return name, get_args(hint)[0]
    return None


def _union(options: tuple[Any, ...]) -> Converter:
    nullable = type(None) in options
    rest = tuple(o for o in options if o is not type(None))
    if len(rest) == 1:
        inner = converter(rest[0])
        return lambda value, path, problems: None if value is None else inner(value, path, problems)
    tagged = {}
    for option in rest:
        tag = discriminator(option)
        assert tag is not None, f"{option} needs a Literal field to be told from its siblings"
        tagged[tag[1]] = (tag[0], converter(option))
    key = next(iter(tagged.values()))[0]
    pick = _literal(tuple(tagged))

    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if value is None and nullable:
            return None
        if not isinstance(value, Mapping):
            problems.append(Problem("E-TYPE", path, f"expected a mapping, got {describe(value)}"))
            return None
        chosen = value.get(key, MISSING)
        if chosen == MISSING:
            problems.append(missing(f"{path}.{key}"))
            return None
        chosen = pick(chosen, f"{path}.{key}", problems)
        return None if chosen is None else tagged[chosen][1](value, path, problems)

    return convert


def missing(path: str) -> Problem:
    return Problem("E-MISSING", path, "needs a value and has no default", f"give one: {path}=…")


def _dataclass(cls: type) -> Converter:
    fields = {f.name: f for f in dataclasses.fields(cls)}
    converters = {name: converter(hint) for name, hint in hints(cls).items() if name in fields}
    required = [
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]

    def convert(value: Any, path: str, problems: list[Problem]) -> Any:
        if not isinstance(value, Mapping):
            problems.append(Problem("E-TYPE", path, f"expected a mapping, got {describe(value)}"))
            return None
        seen = len(problems)
        prefix = f"{path}." if path else ""
        made = {}
        for key, item in value.items():
            if key not in converters:
                problems += unknown_keys(f"{prefix}{key}", item)
            elif item is UNRESOLVED:
                seen = -1
            elif isinstance(item, str) and item == MISSING:
                problems.append(missing(f"{prefix}{key}"))
            else:
                made[key] = converters[key](item, f"{prefix}{key}", problems)
        for name in required:
            if name not in value:
                problems.append(missing(f"{prefix}{name}"))
        return cls(**made) if len(problems) == seen else None

    return convert


def unknown_keys(path: str, value: Any) -> list[Problem]:
    """One problem per leaf below an unknown key. The suggestion comes later: it may lie in another section."""
    if isinstance(value, Mapping) and value:
        return [p for key, item in value.items() for p in unknown_keys(f"{path}.{key}", item)]
    if path.rpartition(".")[2] == "_target_":
        return [Problem("E-TARGET", path, "`_target_` is not allowed: YAML never names code to run", "remove it")]
    return [Problem("E-KEY", path, f"`{path}` is not a key")]


@cache
def hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls, include_extras=True)


@cache
def converter(tp: Any) -> Converter:
    """The function that turns plain data into ``tp`` and appends what is wrong to a list."""
    origin, args = get_origin(tp), get_args(tp)
    if origin is Annotated:
        return _annotated(args[0], tuple(args[1:]))
    if origin is Literal:
        return _literal(args)
    if origin in (Union, types.UnionType):
        return _union(args)
    if origin is tuple:
        return _sequence(args)
    if origin is dict:
        return _mapping(args[1])
    if isinstance(tp, type) and dataclasses.is_dataclass(tp):
        return _dataclass(tp)
    return _scalar(tp)


@cache
def determining_fields(cls: type) -> tuple[str, ...]:
    """Fields that belong into a run id: all but the recorded ones."""
    return tuple(
        f.name
        for f in dataclasses.fields(cls)
        if not any(isinstance(e, Recorded) for e in get_args(hints(cls)[f.name])[1:])
    )


def plain(value: Any, *, determining: bool = False) -> Any:
    """Dataclasses back to dicts and lists; only what determines a result when asked."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        cls = type(value)
        names = determining_fields(cls) if determining else tuple(f.name for f in dataclasses.fields(cls))
        return {n: plain(getattr(value, n), determining=determining) for n in names}
    if isinstance(value, Mapping):
        return {k: plain(v, determining=determining) for k, v in value.items()}
    return [plain(v, determining=determining) for v in value] if isinstance(value, (list, tuple)) else value
