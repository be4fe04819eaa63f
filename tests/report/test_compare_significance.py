"""Student's t from a handful of values: against published numbers, and against SciPy where there is one."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.report.comparison.significance import beta_share, compare, critical, holm, paired, two_sided, welch

ONE = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
OTHER = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
"""Hours of sleep gained by two drugs, from Student's paper of 1908."""


def test_students_own_data() -> None:
    test = paired(ONE, OTHER)
    assert test and test.kind == "paired" and test.count == 10
    assert test.difference == pytest.approx(-1.58) and test.p == pytest.approx(0.002833, abs=1e-6)
    assert (test.low, test.high) == pytest.approx((-2.4598858, -0.7001142), abs=1e-6)


def test_welch_on_the_same_data() -> None:
    test = welch(ONE, OTHER)
    assert test and test.kind == "Welch"
    assert test.p == pytest.approx(0.07939, abs=1e-5)
    assert (test.low, test.high) == pytest.approx((-3.3654832, 0.2054832), abs=1e-6)


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.7062), (2, 4.3027), (4, 2.7764), (10, 2.2281), (100, 1.9840)])
def test_critical_values_are_those_of_the_tables(freedom: int, t: float) -> None:
    assert critical(freedom) == pytest.approx(t, abs=5e-5)
    assert two_sided(t, freedom) == pytest.approx(0.05, abs=1e-5)


@settings(deadline=None)
@given(st.floats(0.1, 200), st.floats(0, 1))
def test_the_incomplete_beta_function_where_it_is_elementary(a: float, x: float) -> None:
    assert beta_share(a, 1, x) == pytest.approx(x**a, abs=1e-12)
    assert beta_share(1, a, x) == pytest.approx(1 - (1 - x) ** a, abs=1e-12)
    assert beta_share(a, a, 0.5) == pytest.approx(0.5, abs=1e-12)


@settings(deadline=None)
@given(st.floats(0.2, 300), st.floats(0.2, 300), st.floats(0, 1))
def test_the_incomplete_beta_function_is_scipys(a: float, b: float, x: float) -> None:
    special = pytest.importorskip("scipy.special")
    assert beta_share(a, b, x) == pytest.approx(float(special.betainc(a, b, x)), abs=1e-10)


@settings(deadline=None)
@given(st.lists(st.floats(-10, 10), min_size=2, max_size=6), st.lists(st.floats(-10, 10), min_size=2, max_size=6))
def test_tests_are_antisymmetric(a: list[float], b: list[float]) -> None:
    one, other = welch(a, b), welch(b, a)
    assert (one is None) == (other is None)
    if one and other:
        assert one.p == pytest.approx(other.p) and 0 <= one.p <= 1
        assert one.difference == pytest.approx(-other.difference) and one.low <= one.difference <= one.high


def test_seeds_in_common_are_paired_and_others_are_not() -> None:
    noise = {str(seed): math.sin(seed) for seed in range(4)}
    better = {seed: value - 0.1 + 0.001 * int(seed) for seed, value in noise.items()}
    test = compare(better, noise)
    assert test and test.kind == "paired" and test.p < 0.001
    elsewhere = {f"1{seed}": value for seed, value in better.items()}
    test = compare(elsewhere, noise)
    assert test and test.kind == "Welch" and test.p > 0.5
    assert compare(elsewhere, noise, unpaired=False) is None


def test_nothing_is_said_of_one_value_or_of_no_spread() -> None:
    assert compare({"0": 1.0}, {"0": 2.0}) is None
    assert welch([1.0], [2.0, 3.0]) is None
    assert paired([1.0, 2.0], [2.0, 3.0]) is None
    same = paired([1.0, 2.0], [1.0, 2.0])
    assert same and same.p == 1 and same.difference == 0


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
