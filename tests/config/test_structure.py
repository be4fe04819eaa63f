"""Plain data become typed values, or are refused with a cause and a way out: single values, lists, choices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Interval, Le, Lt, MinLen

from albor.config.problems import Problem
from albor.config.structure import bounds_of, converter, describe, is_not_finite
from albor.config.types import Named, OfTheHub, Or, Unit

FINITE = "give a plain number"
COUNT = Annotated[int, Unit("count"), Gt(0), Le(10**9)]
NAME_RULE = "use at most 100 letters, digits and . _ + - @"


@pytest.fixture(autouse=True)
def nothing_compiled() -> Iterator[None]:
    """Converters are compiled by the tests of this file, not by whichever came before."""
    converter.cache_clear()
    yield
    converter.cache_clear()


def convert(tp: Any, value: Any) -> tuple[Any, list[Problem]]:
    """What the value becomes and the new problems; one that was there before stays, and changes nothing."""
    before = Problem("E-RUN", "before", "it was there")
    problems = [before]
    made = converter(tp)(value, "x.y", problems)
    assert problems.pop(0) is before
    return made, problems


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true (a switch)"),
        (False, "false (a switch)"),
        ("word", "'word' (text)"),
        ("a" * 59, f"'{'a' * 59}' (text)"),
        ("a" * 57 + "bcd", f"'{'a' * 57}…' (text)"),
        (None, "null"),
        ({"a": 1}, "a mapping"),
        ([1], "a list"),
        ((1,), "a list"),
        (3, "3"),
        (0.5, "0.5"),
    ],
)
def test_a_value_in_words(value: Any, text: str) -> None:
    assert describe(value) == text


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, ".nan", ".NaN", "nan", "inf", "-.inf", "+.Inf", "-INF"]
)
def test_what_is_not_finite_in_every_spelling(value: Any) -> None:
    assert is_not_finite(value)
    for tp in (int, float):
        assert convert(tp, value) == (None, [Problem("E-RANGE", "x.y", f"{value} is not a finite number", FINITE)])


@pytest.mark.parametrize("value", [0.5, 1e308, 3, "3", "nano", "information", "n.an", "XXnan", True, None, [math.nan]])
def test_what_is_finite_or_no_number_at_all(value: Any) -> None:
    assert not is_not_finite(value)


@pytest.mark.parametrize(
    ("tp", "value", "made"),
    [
        (int, 3, 3),
        (int, -3.0, -3),
        (int, 2**60 + 1, 2**60 + 1),
        (float, 3, 3.0),
        (float, 0.5, 0.5),
        (str, "word", "word"),
        (str, "nan", "nan"),
        (str, "", ""),
        (bool, True, True),
        (bool, False, False),
    ],
)
def test_a_scalar_of_its_type_is_taken(tp: type, value: Any, made: Any) -> None:
    found, problems = convert(tp, value)
    assert (found, problems) == (made, []) and type(found) is tp


@pytest.mark.parametrize(
    ("tp", "value", "cause", "fix"),
    [
        (int, 3.5, "expected a whole number, got 3.5", None),
        (int, True, "expected a whole number, got true (a switch)", None),
        (int, "3", "expected a whole number, got '3' (text)", None),
        (int, "ture", "expected a whole number, got 'ture' (text)", None),
        (int, None, "expected a whole number, got null", None),
        (int, [3], "expected a whole number, got a list", None),
        (int, {}, "expected a whole number, got a mapping", None),
        (float, False, "expected a number, got false (a switch)", None),
        (float, "0.5", "expected a number, got '0.5' (text)", None),
        (float, None, "expected a number, got null", None),
        (str, 3, "expected text, got 3", "quote it: 'x.y=\"3\"'"),
        (str, math.inf, "expected text, got inf", "quote it: 'x.y=\"inf\"'"),
        (str, True, "expected text, got true (a switch)", "quote it: 'x.y=\"true\"'"),
        (str, None, "expected text, got null", None),
        (str, [], "expected text, got a list", None),
        (str, {"a": 1}, "expected text, got a mapping", None),
        (bool, "ture", "expected true or false, got 'ture' (text)", "did you mean 'true'?"),
        (bool, "Flase", "expected true or false, got 'Flase' (text)", "did you mean 'false'?"),
        (bool, "yes, please", "expected true or false, got 'yes, please' (text)", None),
        (bool, ".nan", "expected true or false, got '.nan' (text)", None),
        (bool, 1, "expected true or false, got 1", None),
        (bool, None, "expected true or false, got null", None),
    ],
)
def test_a_scalar_of_another_type_is_refused(tp: type, value: Any, cause: str, fix: str | None) -> None:
    assert convert(tp, value) == (None, [Problem("E-TYPE", "x.y", cause, fix)])


def test_bounds_in_the_order_in_which_they_stand() -> None:
    found = bounds_of((Unit("count"), Interval(ge=0, lt=1), Gt(-1), Le(9), "no bound"))
    assert [(sign, bound) for sign, bound, _ in found] == [("≥", 0), ("<", 1), (">", -1), ("≤", 9)]
    assert [compare(2, 2) for *_, compare in found] == [True, False, False, True]
    assert bounds_of(()) == []


@pytest.mark.parametrize(
    ("tp", "value", "made"),
    [
        (COUNT, "1.5k", 1500),
        (COUNT, 10**9, 10**9),
        (Annotated[float, Unit("seconds"), Gt(0)], "2h", 7200.0),
        (Annotated[int, "a note", Unit("bytes")], "1KiB", 1024),
        (Annotated[float, Interval(ge=0, lt=1)], 0, 0.0),
        (Annotated[int, Lt(3)], 2, 2),
        (Annotated[int | None, Gt(0)], None, None),
        (Annotated[str, MinLen(1)], "a", "a"),
        (Annotated[tuple[int, ...], MinLen(2)], [1, 2], (1, 2)),
        (Annotated[str, Named()], "a" * 100, "a" * 100),
        (Annotated[str, OfTheHub()], "BSD-3-Clause", "bsd-3-clause"),
        (Annotated[int, Gt(0), Or(-1, "as many as cores")], -1, -1),
        (Annotated[int, Gt(0), Or(-1, "as many as cores")], 1, 1),
        (Annotated[str, Named()], "Ä_.+@-9", "Ä_.+@-9"),
        (Annotated[str, "a note"], "a/b", "a/b"),
        (Annotated[bool, "a note"], True, True),
    ],
)
def test_a_value_inside_its_range_is_taken(tp: Any, value: Any, made: Any) -> None:
    found, problems = convert(tp, value)
    assert (found, problems) == (made, []) and type(found) is type(made)


@pytest.mark.parametrize(
    ("tp", "value", "made", "cause", "fix"),
    [
        (COUNT, 0, 0, "0 is out of range; it must be > 0 and ≤ 1e+09", None),
        (COUNT, "2B", 2 * 10**9, "2e+09 is out of range; it must be > 0 and ≤ 1e+09", None),
        (Annotated[float, Interval(ge=0, lt=1)], 1, 1.0, "1 is out of range; it must be ≥ 0 and < 1", None),
        (Annotated[float, Ge(0.25)], 0.125, 0.125, "0.125 is out of range; it must be ≥ 0.25", None),
        (
            Annotated[int, Gt(0), Or(-1, "as many as cores")],
            0,
            0,
            "0 is out of range; it must be > 0, or -1 for as many as cores",
            None,
        ),
        (Annotated[str, MinLen(1)], "", "", "must not be empty", None),
        (Annotated[str, MinLen(1), Named()], "", "", "must not be empty", None),
        (Annotated[tuple[int, ...], MinLen(2)], [7], (7,), "must not be empty", None),
        (Annotated[str, Named()], "a/b", "a/b", "'a/b' (text) cannot name a directory", NAME_RULE),
        (Annotated[str, Named()], ".hidden", ".hidden", "'.hidden' (text) cannot name a directory", NAME_RULE),
        (Annotated[str, Named()], "b" * 101, "b" * 101, f"'{'b' * 57}…' (text) cannot name a directory", NAME_RULE),
    ],
)
def test_a_value_outside_its_range_is_refused(tp: Any, value: Any, made: Any, cause: str, fix: str | None) -> None:
    assert convert(tp, value) == (made, [Problem("E-RANGE", "x.y", cause, fix)])


def test_what_is_no_quantity_is_told_the_units_and_nothing_else() -> None:
    cause = "'12 apples' is not a number with a unit; write a plain number or use k, K, M, B, T (1B)"
    assert convert(COUNT, "12 apples") == (None, [Problem("E-TYPE", "x.y", cause)])
    cause = "expected a whole number, got '1k' (text)"
    assert convert(Annotated[int, Gt(0)], "1k") == (None, [Problem("E-TYPE", "x.y", cause)])
    assert convert(COUNT, "1e400") == (None, [Problem("E-RANGE", "x.y", "inf is not a finite number", FINITE)])


def test_what_is_wrong_inside_is_not_also_out_of_range() -> None:
    made, problems = convert(Annotated[tuple[int, ...], MinLen(3)], ["a"])
    assert made == (None,)
    assert problems == [Problem("E-TYPE", "x.y[0]", "expected a whole number, got 'a' (text)")]


@pytest.mark.parametrize(
    ("tp", "value", "cause", "fix"),
    [
        (Literal["cosine", "wsd"], "cosin", "'cosin' (text)", "did you mean 'cosine'? The values are cosine, wsd"),
        (Literal["cosine", "wsd"], "COSINE", "'COSINE' (text)", "did you mean 'cosine'? The values are cosine, wsd"),
        (Literal["cosine", "wsd"], "staircase", "'staircase' (text)", "the values are cosine, wsd"),
        (Literal["cosine", "wsd"], None, "null", "the values are cosine, wsd"),
        (Literal["cosine", "wsd"], ["wsd"], "a list", "the values are cosine, wsd"),
        (Literal[100, 2000], 1000, "1000", "did you mean '100'? The values are 100, 2000"),
        (Literal[1, 2], True, "true (a switch)", "the values are 1, 2"),
    ],
)
def test_what_is_none_of_the_values_is_refused(tp: Any, value: Any, cause: str, fix: str) -> None:
    assert convert(tp, value) == (None, [Problem("E-VALUE", "x.y", f"{cause} is not a value of x.y", fix)])


def test_one_of_the_values_is_taken() -> None:
    assert convert(Literal["cosine", "wsd"], "wsd") == ("wsd", [])
    assert convert(Literal[1, 2], 2) == (2, [])


@pytest.mark.parametrize(
    ("tp", "value", "made"),
    [
        (tuple[int, ...], [], ()),
        (tuple[int, ...], [1], (1,)),
        (tuple[int, ...], (1, 2.0, 3), (1, 2, 3)),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[str, int, float], ["a", 1, 2], ("a", 1, 2.0)),
        (tuple[str], ["a"], ("a",)),
        (tuple[tuple[int, int], ...], [[1, 2], [3, 4]], ((1, 2), (3, 4))),
    ],
)
def test_a_list_becomes_a_tuple(tp: Any, value: Any, made: Any) -> None:
    assert convert(tp, value) == (made, [])


@pytest.mark.parametrize(
    ("tp", "value", "cause", "fix"),
    [
        (tuple[int, ...], 3, "expected a list, got 3", "write x.y=[…]"),
        (tuple[str, ...], "ab", "expected a list, got 'ab' (text)", "write x.y=[…]"),
        (tuple[int, int], {"a": 1}, "expected a list, got a mapping", "write x.y=[…]"),
        (tuple[int, int], [1], "expected 2 values, got 1", None),
        (tuple[int, int], [1, 2, 3], "expected 2 values, got 3", None),
        (tuple[int], [1, 2], "expected 1 values, got 2", None),
    ],
)
def test_a_list_of_another_shape_is_refused(tp: Any, value: Any, cause: str, fix: str | None) -> None:
    assert convert(tp, value) == (None, [Problem("E-TYPE", "x.y", cause, fix)])


def test_every_item_of_a_list_is_looked_at() -> None:
    made, problems = convert(tuple[int, ...], [1, "a", 2, None])
    assert made == (1, None, 2, None)
    assert [(p.path, p.cause) for p in problems] == [
        ("x.y[1]", "expected a whole number, got 'a' (text)"),
        ("x.y[3]", "expected a whole number, got null"),
    ]
    assert [p.path for p in convert(tuple[int, str], ["a", 1])[1]] == ["x.y[0]", "x.y[1]"]
