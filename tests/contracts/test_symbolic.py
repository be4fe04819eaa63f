"""The prover itself: it sees every way through a function, and does not prove what is wrong."""

from __future__ import annotations

import pytest
import z3

from .symbolic import check, number, paths, prove, term

A, B = z3.Ints("a b")


def ceil_wrong(a: int, b: int) -> int:
    return a // b + 1


def ceil_right(a: int, b: int) -> int:
    return -(-a // b)


def test_what_is_wrong_is_not_proven() -> None:
    for function, right in ((ceil_right, True), (ceil_wrong, False)):
        ((facts, found),) = paths(lambda f=function: f(number(A), number(B)), B >= 1)  # type: ignore[misc]
        prove(facts, term(found) * B >= A)
        if right:
            prove(facts, (term(found) - 1) * B < A)
        else:
            with pytest.raises(AssertionError, match="sat: "):
                prove(facts, (term(found) - 1) * B < A)


def test_every_way_is_taken_and_none_that_cannot_be() -> None:
    def sign(x: int) -> int:
        return 1 if x > 0 else -1 if x < 0 else 0

    for premises, signs in (([], {1, -1, 0}), ([A >= 0], {1, 0}), ([A == 7], {1})):
        made = list(paths(lambda: sign(number(A)), *premises))
        assert {found for _, found in made} == signs and len(made) == len(signs)
        assert all(check(*facts) == z3.sat for facts, _ in made)


def test_division_is_pythons() -> None:
    for a in range(-7, 8):
        for b in (1, 2, 3):
            ((facts, (whole, share)),) = paths(lambda: (number(A) // number(B), number(A) / number(B)),
                                               a == A, b == B)  # fmt: skip
            assert check(*facts) == z3.sat, "of what cannot be, everything is proven"
            prove(facts, term(whole) == a // b)
            prove(facts, term(share) * b == a)


def test_a_division_by_zero_is_seen() -> None:
    with pytest.raises(ZeroDivisionError):
        list(paths(lambda: number(A) / number(B), B >= 0))


def test_rounding_allows_what_python_does() -> None:
    x = z3.Real("x")
    for value in ("1/2", "3/2", "7/3", "-5/2"):
        ((facts, found),) = paths(lambda: round(number(x)), x == z3.RealVal(value))
        assert check(*facts, term(found) == round(float(z3.RealVal(value).as_fraction()))) == z3.sat
        assert check(*facts, term(found) == 5) == z3.unsat
