"""From verdicts to numbers: the unbiased estimator, and how far it could be off."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.evals import paired
from albor.evals.scores import interval, pass_at_k, summarise


@st.composite
def counts(draw: st.DrawFn, most: int = 300) -> tuple[int, int, int]:
    n = draw(st.integers(1, most))
    return n, draw(st.integers(0, n)), draw(st.integers(1, n))


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [
        (50, 13, 1, 0.26), (50, 13, 10, 0.96609), (50, 1, 10, 0.2), (200, 5, 100, 0.97031), (10, 3, 1, 0.3),
        (10, 3, 10, 1.0), (10, 0, 1, 0.0), (1, 1, 1, 1.0), (1, 0, 1, 0.0),
    ],
)  # fmt: skip
def test_pass_at_k_of_known_counts(n: int, c: int, k: int, expected: float) -> None:
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=5e-6)


@given(counts())
def test_pass_at_k_is_the_chance_of_a_draw_without_replacement(case: tuple[int, int, int]) -> None:
    n, c, k = case
    assert pass_at_k(n, c, k) == pytest.approx(float(1 - Fraction(comb(n - c, k), comb(n, k))), abs=1e-12)


@given(counts(60))
def test_pass_at_k_grows_with_what_passed_and_with_k(case: tuple[int, int, int]) -> None:
    n, c, k = case
    value = pass_at_k(n, c, k)
    assert 0 <= value <= 1
    if c < n:
        assert pass_at_k(n, c + 1, k) >= value
    if k < n:
        assert pass_at_k(n, c, k + 1) >= value - 1e-12


@pytest.mark.parametrize(("n", "c", "k"), [(10, 11, 1), (10, -1, 1), (10, 3, 0), (10, 3, 11)])
def test_counts_that_cannot_be_are_refused(n: int, c: int, k: int) -> None:
    with pytest.raises(ValueError) as refused:
        pass_at_k(n, c, k)
    assert str(refused.value) == f"n = {n}, c = {c}, k = {k}: 0 <= c <= n and 1 <= k <= n are needed"


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_an_interval_holds_the_mean_and_is_the_same_each_time(values: list[float]) -> None:
    low, high = interval(values)
    assert low - 1e-9 <= np.mean(values) <= high + 1e-9
    if 0 < np.mean(values) < 1:
        assert min(values) - 1e-9 <= low and high <= max(values) + 1e-9
    assert interval(values) == (low, high)


def test_an_interval_of_equal_values_is_a_point() -> None:
    assert interval([0.5] * 20) == (0.5, 0.5)


@pytest.mark.parametrize("n", [1, 20, 164])
def test_none_and_all_leave_room_for_chance(n: int) -> None:
    """At its end, the outcome has a chance of 2.5%."""
    (low, high), (least, most) = interval([0.0] * n), interval([1.0] * n)
    assert (low, most) == (0.0, 1.0)
    assert (1 - high) ** n == pytest.approx(0.025) == pytest.approx(least**n)


def test_an_interval_covers_the_truth_as_often_as_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "RESAMPLES", 1000)
    draw = np.random.default_rng(0)
    # 164 problems of different difficulty with 10 samples each; the truth is the mean of all such problems.
    covered = 0
    for trial in range(200):
        chances = draw.beta(0.5, 1.0, 164)
        low, high = interval([passed / 10 for passed in draw.binomial(10, chances)], seed=trial)
        covered += low <= 0.5 / 1.5 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_summary_leaves_out_k_above_the_samples() -> None:
    passed = {"a": [True, False, False], "b": [False] * 3, "c": [True] * 5}
    found = summarise(passed, (1, 3, 10))
    assert {*found} == {"problems", "samples", "pass@1", "pass@3"}
    assert (found["problems"], found["samples"]) == (3, 3)
    assert found["pass@1"]["value"] == pytest.approx((1 / 3 + 0 + 1) / 3)
    assert found["pass@3"]["value"] == pytest.approx(2 / 3)
    assert found["pass@3"]["low"] <= 2 / 3 <= found["pass@3"]["high"]


def test_a_summary_has_a_number_even_when_no_k_fits() -> None:
    assert summarise({"a": [True, True]}, (10, 100), name="exact")["exact@1"]["value"] == 1.0


def test_an_interval_is_the_middle_95_percent_of_the_resampled_means() -> None:
    values = [0.0] * 50 + [1.0] * 50
    low, high = interval(values)
    assert 0.5 - low == pytest.approx(1.96 * 0.05, abs=0.012) and high - 0.5 == pytest.approx(1.96 * 0.05, abs=0.012)
    # Of 10,000 means of 100 coins a share of 0.0284 is at most 40 of 100, and 0.0176 at most 39.
    assert (low, high) == (0.4, 0.6)
    uneven = np.random.default_rng(3).uniform(size=50).tolist()
    assert interval(uneven) == interval(uneven, seed=0) != interval(uneven, seed=1)


def test_a_summary_takes_every_k_once_and_in_order() -> None:
    found = summarise({"a": [True, False], "b": [False, False]}, (2, 1, 2))
    assert list(found) == ["problems", "samples", "pass@1", "pass@2"]
    low, high = interval([0.5, 0.0])
    assert found["pass@1"] == {"value": 0.25, "low": low, "high": high}
