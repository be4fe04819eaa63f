"""EvalPlus' rules (Liu et al., 2023): inputs of MBPP+ that JSON has no words for, and which outputs are right."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any


class Wrong(AssertionError):
    """An output that is not right; its text says which."""


RELATIVE = 1e-7
FLOATS = 1e-6
"""What numbers with a point may differ by where the problem allows nothing."""

# --- inputs ---


def same(value: Any) -> Any:
    return value


def tuples(values: Any) -> Any:
    return [tuple(value) for value in values]


def within(value: Any) -> Any:
    """All lists as tuples, at any depth."""
    return tuple(map(within, value)) if isinstance(value, list) else value


# fmt: off
CONVERTED: tuple[tuple[Callable[[Any], Any], Callable[[Any], Any], tuple[int, ...]], ...] = (
    (tuple, tuple, (2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596, 616, 630, 726, 740,
                    744, 809)),
    (tuple, same, (250, 307, 405, 446, 617, 720, 763, 808)),
    (same, tuple, (106, 750)),
    (tuples, tuples, (63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780)),
    (tuples, same, (75, 413, 444, 753)),
    (lambda values: tuple(map(tuple, values)), lambda values: tuple(map(tuple, values)), (259, 401, 445)),
    (lambda values: tuple(tuple(v) if isinstance(v, list) else v for v in values), same, (278,)),
    (within, within, (580, 615, 791)),
    (lambda values: [set(v) if isinstance(v, list) and v else {} for v in values], same, (115,)),
    (lambda values: {key: tuple(value) for key, value in values.items()}, same, (722,)),
    (float, complex, (124,)),
    (complex, same, (252,)),
)
"""What becomes of the first argument, and of the others, in these tasks of MBPP+."""
# fmt: on


def arguments_of(task: str, read: Sequence[Any]) -> list[Any]:
    """An input as it was before it was written as JSON."""
    for first, others, numbers in CONVERTED:
        if task in [f"Mbpp/{number}" for number in numbers]:
            return [*map(first, read[:1]), *map(others, read[1:])]
    return list(read)


# --- outputs: given, expected, arguments, tolerance ---

Rule = Callable[[Any, Any, Sequence[Any], float], bool]


def equal(given: Any, expected: Any, _: Sequence[Any], __: float) -> bool:
    return bool(given == expected)


def equal_sets(given: Any, expected: Any, _: Sequence[Any], __: float) -> bool:
    return set(given) == set(expected)


def found(given: Any, expected: Any, _: Sequence[Any], __: float) -> bool:
    """Whether there is something where there is to be (``expected`` is True); True and False say it themselves."""
    return bool((given if isinstance(given, bool) else given is not None) == expected)


def pyramid(given: Any, expected: Any, arguments: Sequence[Any], atol: float) -> bool:
    """The height may be the perpendicular one."""
    if given == expected:
        return True
    base, height = arguments
    surface = round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))
    return bool(abs(given - surface) <= atol)


def padded(given: Any, expected: Any, arguments: Sequence[Any], _: float) -> bool:
    """The shorter number may be filled up with zeros on the left."""
    width = max(len(str(number)) for number in arguments)
    one, other = (str(number).zfill(width) for number in arguments)
    return bool(given == expected or given == sum(abs(int(a) - int(b)) for a, b in zip(one, other, strict=True)))


def root(given: Any, _: Any, arguments: Sequence[Any], atol: float) -> bool:
    """A polynomial may have several."""
    return bool(abs(sum(c * math.pow(given, i) for i, c in enumerate(arguments[0]))) <= atol)


SETS = (
    "similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum",
    "intersection_array", "find_dissimilar", "Diff",
)  # fmt: skip
MBPP: dict[str, Rule] = {
    **dict.fromkeys(SETS, equal_sets),
    **dict.fromkeys(("check_str", "text_match_three", "text_starta_endb"), found),
    "are_equivalent": lambda *_: True,
    "sum_div": lambda given, expected, *_: bool(given in (expected, 0)),
    "surface_Area": pyramid,
    "digit_distance_nums": padded,
}
"""Functions of MBPP+ for which equality is not what is asked."""


def floats(expected: Any) -> bool:
    parts = expected if isinstance(expected, (list, tuple)) and expected else [expected]
    return all(isinstance(part, float) for part in parts)


def close(given: Any, expected: Any, atol: float) -> bool:
    """Whether numbers, or lists of them in one shape, differ by no more than NumPy's allclose lets them."""
    if shape(given) != shape(expected):
        return False
    if isinstance(expected, (list, tuple)):
        return all(close(a, b, atol) for a, b in zip(given, expected, strict=True))
    if not all(isinstance(number, (int, float, complex)) for number in (given, expected)):
        return False
    near = abs(given - expected) <= atol + RELATIVE * abs(expected) < math.inf
    return near or bool(given == expected)


def shape(value: Any) -> tuple[int, ...]:
    """As an array would have it. Raises ValueError where it would have none."""
    if not isinstance(value, (list, tuple)):
        return ()
    (inner,) = {shape(part) for part in value} or {()}
    return len(value), *inner


def compare(program: Callable[..., Any], source: str, entry: str, task: str, atol: float, parts: Sequence[Any]) -> None:
    """Raises Wrong at the first input on which the program's output does not count as the reference's.

    The reference has names of its own: one that calls itself must not call the program.
    """
    space: dict[str, Any] = {"__name__": "reference"}
    exec(compile(source, "<reference>", "exec"), space)
    rule = MBPP.get(entry, equal) if task.startswith("Mbpp/") else root if task == "HumanEval/32" else equal
    for part in parts:
        allowed = atol
        for read in part:
            arguments = arguments_of(task, read)
            expected = space[entry](*copy.deepcopy(arguments))
            if rule is found:
                expected = expected is not None
            given = program(*copy.deepcopy(arguments))
            try:
                right = rule(given, expected, arguments, allowed)
                if allowed == 0 and floats(expected):
                    allowed = FLOATS  # for the part's other inputs, too
                if not right and allowed and rule is not root:
                    right = type(given) is type(expected) and close(given, expected, allowed)
            except (TypeError, ValueError, OverflowError):
                right = False  # it is nothing to compute with
            if not right:
                raise Wrong(f"{entry}(*{arguments!r:.300}) is {given!r:.300}, not {expected!r:.300}")
