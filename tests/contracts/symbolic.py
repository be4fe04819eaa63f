"""Plain functions run on numbers that stand for all numbers, and a solver says what holds of what they return.

Integers are exact, as Python's are; real numbers are exact too, which floats are not. Where a function decides on such
a number, it is run once for every way that the premises leave open, so a loop must end whatever is decided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, TypeVar

import z3

T = TypeVar("T")


@dataclass
class Path:
    """One way through a function."""

    facts: list[Any]
    """The premises, and what was decided or stated on the way."""
    decided: list[bool] = field(default_factory=list)
    script: list[bool] = field(default_factory=list)
    """The decisions that lead to where this way leaves an earlier one."""
    open: list[list[bool]] = field(default_factory=list)
    """The scripts of the ways that it could also have taken."""
    known: dict[str, Any] = field(default_factory=dict)
    """What is named already, by what it is."""

    def decide(self, condition: Any) -> bool:
        if len(self.decided) < len(self.script):
            choice = self.script[len(self.decided)]
        elif self.possible(condition):
            choice = True
            if self.possible(z3.Not(condition)):
                self.open.append([*self.decided, False])
        else:
            choice = False
        self.decided.append(choice)
        self.facts.append(condition if choice else z3.Not(condition))
        return choice

    def integer(self, kind: str, of: Any, *facts: Callable[[Any], Any]) -> Any:
        """The integer of which ``facts`` are known; the same for the same ``kind`` and ``of``."""
        key = f"{kind} {of.sexpr()}"
        if key not in self.known:
            self.known[key] = z3.FreshInt(kind)
            self.facts += [fact(self.known[key]) for fact in facts]
        return self.known[key]

    def possible(self, condition: Any) -> bool:
        """Also when the solver does not know: a way too many proves no less."""
        return bool(check(*self.facts, condition) != z3.unsat)


EFFORT = 50_000_000
"""The solver's steps for one question, some seconds: counted, because time would depend on the machine."""
_here: list[Path] = []
"""The path that is being taken."""


def check(*facts: Any) -> Any:
    solver = z3.Solver()
    solver.set("rlimit", EFFORT)
    solver.add(*facts)
    return solver.check()


def paths(function: Callable[[], T], *premises: Any) -> Iterator[tuple[list[Any], T]]:
    """(facts, result) of every way through ``function``; together they cover all that the premises allow."""
    waiting: list[list[bool]] = [[]]
    while waiting:
        path = Path(list(premises), script=waiting.pop())
        _here.append(path)
        try:
            result = function()
        finally:
            _here.pop()
        waiting += path.open
        yield path.facts, result


def prove(facts: list[Any], goal: Any) -> None:
    """Fails unless ``goal`` holds wherever ``facts`` do; what is proven is one of them from then on."""
    verdict = check(*facts, z3.Not(goal))
    assert verdict == z3.unsat, f"{verdict}: {goal}"
    facts.append(goal)


def state(fact: Any) -> None:
    """Adds what is known of a number to the path."""
    _here[-1].facts.append(fact)


def term(value: Any) -> Any:
    if isinstance(value, Number):
        return value.term
    return z3.IntVal(value) if isinstance(value, int) else z3.RealVal(str(Fraction(value)))


def number(of: Any) -> Any:
    """A number for functions that are typed for Python's own."""
    return Number(of)


class Truth:
    """A condition; asking whether it holds is a decision."""

    def __init__(self, condition: Any) -> None:
        self.condition = condition

    def __bool__(self) -> bool:
        return _here[-1].decide(self.condition)


class Number:
    """An integer or a real number that a solver knows by ``term``."""

    def __init__(self, of: Any) -> None:
        self.term = of

    def __add__(self, other: Any) -> Number:
        return Number(self.term + term(other))

    def __sub__(self, other: Any) -> Number:
        return Number(self.term - term(other))

    def __rsub__(self, other: Any) -> Number:
        return Number(term(other) - self.term)

    def __mul__(self, other: Any) -> Number:
        return Number(self.term * term(other))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Number:
        return Number(-self.term)

    def __truediv__(self, other: Any) -> Number:
        self._refuse_zero(other)
        return Number(z3.ToReal(self.term) / term(other) if z3.is_int(self.term) else self.term / term(other))

    def __floordiv__(self, other: Any) -> Number:
        self._refuse_zero(other)
        n, by = self.term, term(other)
        prove(_here[-1].facts, by > 0)
        # By its definition: solvers are weak at division.
        floor = _here[-1].integer("floor", n / by, lambda f: f * by <= n, lambda f: n < (f + 1) * by)
        return Number(floor)

    @staticmethod
    def _refuse_zero(other: Any) -> None:
        if _here[-1].decide(term(other) == 0):
            raise ZeroDivisionError

    def __lt__(self, other: Any) -> Truth:
        return Truth(self.term < term(other))

    def __le__(self, other: Any) -> Truth:
        return Truth(self.term <= term(other))

    def __gt__(self, other: Any) -> Truth:
        return Truth(self.term > term(other))

    def __ge__(self, other: Any) -> Truth:
        return Truth(self.term >= term(other))

    def __bool__(self) -> bool:
        return _here[-1].decide(self.term != 0)

    def __round__(self) -> Number:
        """A nearest integer; of two that are equally near, either: more than what Python takes."""
        x, half = self.term, z3.Q(1, 2)
        return Number(_here[-1].integer("round", x, lambda r: r - x <= half, lambda r: x - r <= half))

    def __format__(self, spec: str) -> str:
        return "n"
