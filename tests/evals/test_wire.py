"""What crosses between the judge and a program: plain values as what they are, and nothing that was not asked for."""

from __future__ import annotations

import collections
import datetime
import decimal
import enum
import fractions
import math
import socket
import struct
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.evals.sandbox.inside.wire import Closed, Ended, Foreign, Peer, Remote

ATOMS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**200, max_value=2**2000)
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.datetimes()
    | st.timedeltas()
)
HASHABLE = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=3).map(tuple) | st.frozensets(inner, max_size=3))
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.builds(range, st.integers(-9, 9), st.integers(-9, 9)),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(HASHABLE, inner, max_size=3)
        | st.dictionaries(HASHABLE, inner, max_size=3).map(collections.OrderedDict)
        | st.lists(inner, max_size=3).map(collections.deque)
        | st.sets(HASHABLE, max_size=3)
    ),
    max_leaves=12,
)


class Program(Peer):
    """An end that does as its judge asks, and gives back whatever it is given."""

    def perform(self, operation: str, parts: tuple[Any, ...]) -> Any:
        if operation == "make":
            return parts[0](*parts[1:])
        return parts[0] if operation == "echo" else super().perform(operation, parts)


class Line:
    """A judge and, at the other end, a program that answers it from a thread of its own."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.judge, self.program = Peer(ours, trusting=False), Program(self.theirs, trusting=True)
        ours.settimeout(20)
        self._ours, self._thread = ours, threading.Thread(target=self.program.serve, daemon=True)
        self._thread.start()

    def given(self, made: Any) -> Any:
        """What the judge gets when the program answers with this object."""
        self.program.exported.append(lambda: made)
        function = Remote(self.judge, len(self.program.exported) - 1)
        return function()

    def close(self) -> None:
        self._ours.close()
        self._thread.join(30)
        self.theirs.close()


@pytest.fixture(scope="module")
def shared() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def shape(value: Any) -> Any:
    """A value as text and nested tuples: its types, every bit of its numbers, whatever the order of its sets."""
    kind = type(value).__name__
    match value:
        case int():
            return kind, hex(value)
        case float():
            return kind, "nan" if math.isnan(value) else struct.pack("<d", value)
        case complex():
            return kind, shape(value.real), shape(value.imag)
        case dict():
            return kind, [(shape(key), shape(item)) for key, item in value.items()]
        case set() | frozenset():
            return kind, sorted(repr(shape(item)) for item in value)
        case list() | tuple() | collections.deque():
            return kind, [shape(item) for item in value]
    return kind, repr(value)


@given(value=VALUES)
@settings(deadline=None, max_examples=150)
def test_plain_values_cross_both_ways_as_what_they_are(shared: Line, value: Any) -> None:
    assert shape(shared.judge.ask("echo", value)) == shape(value)


@pytest.mark.parametrize(
    "value",
    [
        collections.Counter("abca"),
        collections.defaultdict(int, {"a": 1}),
        datetime.timezone(datetime.timedelta(hours=2)),
        datetime.time(1, 2, 3),
        decimal.Decimal("sNaN"),
        fractions.Fraction(1, 3),
        slice(1, None, 2),
        [-0.0, 0.0, math.inf, -math.inf, math.nan],
        10**5000,
        int,
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_listed_type_crosses(shared: Line, value: Any) -> None:
    assert shape(shared.judge.ask("echo", value)) == shape(value)


def test_what_holds_itself_crosses_as_that(line: Line) -> None:
    ring: list[Any] = [1]
    ring.append(ring)
    got = line.given(ring)
    assert got[0] == 1 and got[1] is got
    table: dict[str, Any] = {}
    table["me"] = [table]
    assert (crossed := line.given(table))["me"][0] is crossed


# --- what claims to be something else ---


class Equal:
    """Mixed into anything, it is equal to everything."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0

    def __reduce__(self) -> Any:
        return eval, ("'chosen by the program'",)


KINDS: dict[type, Any] = {
    int: 7, float: 0.5, complex: 2j, str: "s", bytes: b"b", bytearray: bytearray(b"b"), list: [1], tuple: (1, 2),
    dict: {1: 2}, set: {1}, frozenset: frozenset({1}),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_what_derives_from_a_plain_type_crosses_as_that_type(line: Line, kind: type) -> None:
    liar: Any = type("Liar", (Equal, kind), {})(KINDS[kind])
    assert liar == "anything"
    got = line.given(liar)
    assert type(got) is kind and got == KINDS[kind] and got != "anything"
    (inside,) = line.given([liar])
    assert type(inside) is kind


def test_any_other_object_stays_where_it_is_and_equals_itself_only(line: Line) -> None:
    liar = Equal()
    got, again, other = line.given((liar, liar, Equal()))
    assert isinstance(got, Remote)
    assert got == again and hash(got) == hash(again)
    assert got != other and got != 7 and got != "anything" and got not in [None, 1.0]


class Colour(enum.IntEnum):
    RED = 1


def test_named_tuples_enums_and_numpy_numbers_cross_as_plain_ones(line: Line) -> None:
    point = collections.namedtuple("point", "x y")
    made = (point(1, [2]), Colour.RED, np.int64(3), np.float64(0.5), np.bool_(True))
    got = line.given(made)
    assert shape(got) == shape(((1, [2]), 1, 3, 0.5, True))
    assert isinstance(line.given(np.arange(3)), Remote)


def test_a_lists_descendant_that_holds_itself_is_an_error_of_the_program(line: Line) -> None:
    ring = type("Ring", (list,), {})()
    ring.append(ring)
    with pytest.raises(RecursionError):
        line.given(ring)
    assert line.given(1) == 1


# --- objects that stay where they are ---


def test_a_tests_use_of_an_object_is_a_use_of_it_there(line: Line) -> None:
    thing = SimpleNamespace(x=1)
    got = line.given(thing)
    got.y = [got.x]
    assert thing.y == [1] and got.y == [1] and str(got) == str(thing) and repr(got) == repr(thing)
    with pytest.raises(AttributeError, match="no attribute 'z'"):
        print(got.z)
    with pytest.raises(AttributeError):
        print(got.__reduce_ex_of_its_own__)


def test_containers_of_the_programs_own_are_used_there(line: Line) -> None:
    class Table:
        def __init__(self) -> None:
            self.items = {"a": 1}

        def __len__(self) -> int:
            return len(self.items)

        def __getitem__(self, key: str) -> int:
            return self.items[key]

        def __setitem__(self, key: str, value: int) -> None:
            self.items[key] = value

        def __contains__(self, key: str) -> bool:
            return key in self.items

        def __iter__(self) -> Iterator[str]:
            return iter(self.items)

    got = line.given(Table())
    got["b"] = 2
    assert (len(got), got["b"], "b" in got, "c" in got, bool(got), list(got)) == (2, 2, True, False, True, ["a", "b"])
    with pytest.raises(KeyError):
        print(got["c"])


def test_a_generator_is_drawn_from_one_by_one(line: Line) -> None:
    drawn: list[int] = []

    def draws() -> Iterator[int]:
        for n in range(3):
            drawn.append(n)
            yield n

    got = line.given(draws())
    assert (next(got), drawn[:]) == (0, [0])
    assert (list(got), drawn) == ([1, 2], [0, 1, 2])
    with pytest.raises(StopIteration):
        next(got)


def test_arguments_that_the_program_changed_are_changed_here(line: Line) -> None:
    def change(numbers: list[int], table: dict[str, int], seen: set[int], data: bytearray, *, more: list[int]) -> None:
        numbers.sort()
        table["x"], more[:] = 1, []
        seen.add(9)
        data += b"!"

    function = line.given(change)
    numbers, table, seen, data, more = [3, 1], {"y": 2}, {1}, bytearray(b"a"), [4]
    assert function(numbers, table, seen, data, more=more) is None
    assert (numbers, table, seen, data, more) == ([1, 3], {"y": 2, "x": 1}, {1, 9}, bytearray(b"a!"), [])


def test_a_program_calls_what_it_is_given_and_nothing_else_of_the_tests(line: Line) -> None:
    class Secret:
        answer = 42

        def __call__(self, x: int) -> int:
            return x + 1

    assert line.given(lambda function: function(1))(Secret()) == 2
    looks: tuple[Any, ...] = (
        lambda it: it.answer, lambda it: len(it), lambda it: it["x"], lambda it: setattr(it, "answer", 43),
    )  # fmt: skip
    for look in looks:
        with pytest.raises(PermissionError):
            line.given(look)(Secret())
    assert Secret.answer == 42


def test_modules_cross_by_name(line: Line) -> None:
    assert line.given(math) is math


# --- errors ---


class Own(Exception):
    pass


class Mute(Exception):
    def __str__(self) -> str:
        raise ValueError


@pytest.mark.parametrize(
    ("raised", "kind", "text"),
    [
        (ValueError("no"), ValueError, "no"),
        (KeyboardInterrupt(), Ended, "KeyboardInterrupt"),
        (SystemExit(3), Ended, "SystemExit"),
        (Own("mine"), Foreign, "Own: mine"),
        (Mute(), Foreign, "Mute: "),
        (UnicodeDecodeError("utf-8", b"", 0, 1, "?"), Foreign, "UnicodeDecodeError"),
        (type("print", (Exception,), {"__module__": "builtins"})("x"), Foreign, "print: x"),
        (ValueError("x" * 5000), ValueError, "x" * 1000),
    ],
    ids=repr,
)
def test_what_a_program_raises_is_raised_here(line: Line, raised: BaseException, kind: type, text: str) -> None:
    def fail() -> None:
        raise raised

    with pytest.raises(kind) as caught:
        line.given(fail)()
    assert text in str(caught.value) and len(str(caught.value)) <= 1100
    assert line.given(1) == 1


def test_a_line_that_is_cut_is_closed_on_both_ends(line: Line) -> None:
    function = line.given(len)
    line.close()
    with pytest.raises(Closed):
        function([])
