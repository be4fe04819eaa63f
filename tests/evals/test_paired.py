"""The paired test on made values: its size, its power, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from albor.errors import AlborError
from albor.evals import paired as module
from albor.evals.paired import Values, means, paired


def test_a_difference_that_is_there_is_found_with_its_size_and_sign() -> None:
    noise = np.random.default_rng(1)
    base = noise.normal(2.0, 0.5, 200)
    better = base - 0.05 + noise.normal(0, 0.1, 200)
    found = paired(base.tolist(), better.tolist())
    assert found.count == 200 and found.low < 0.05 < found.high and found.low > 0
    assert found.mean == pytest.approx(float((base - better).mean()))
    assert found.two_sided < 0.001 and found.greater < 0.001
    other = paired(better.tolist(), base.tolist())
    assert other.two_sided < 0.001 and other.greater > 0.999 and other.mean == pytest.approx(-found.mean)
    assert paired(base.tolist(), better.tolist()) == found


def test_without_a_difference_one_in_twenty_is_significant() -> None:
    noise = np.random.default_rng(2)
    tests = [paired(noise.normal(0, 1, 20).tolist(), noise.normal(0, 1, 20).tolist()) for _ in range(400)]
    for tail in ("two_sided", "greater"):
        assert 0.02 < np.mean([getattr(found, tail) < 0.05 for found in tests]) < 0.09
    inside = np.mean([found.low <= 0 <= found.high for found in tests])
    assert 0.87 < inside < 0.98, "of so few pairs a bootstrap interval is a little narrow"


def test_probabilities_are_those_of_all_choices_of_signs() -> None:
    # Of the 2^5 choices only one has a sum as large as 1+2+3+4+5, and two one as far from zero.
    found = paired([1, 2, 3, 4, 5], [0] * 5)
    assert found.greater == pytest.approx(1 / 32, abs=0.008) and found.two_sided == pytest.approx(2 / 32, abs=0.01)
    same = paired([0.1, 0.2, 0.3], [0.1, 0.2, 0.3])
    assert (same.mean, same.low, same.high, same.two_sided, same.greater) == (0, 0, 0, 1, 1)


@pytest.mark.parametrize(
    ("a", "b", "cause", "help"),
    [
        ([1.0], [2.0], "1 pairs say nothing about a difference", "measure on more items"),
        ([1.0] * 2000, [1.0], "2,000 values cannot be paired with 1", "measure both on the same items"),
        ([1.0, float("nan")], [1, 2], "a value to compare is not finite", "look at the evaluation that it is from"),
    ],
)
def test_what_cannot_be_compared_is_refused(a: list[float], b: list[float], cause: str, help: str) -> None:  # noqa: A002
    with pytest.raises(AlborError) as refused:
        paired(a, b)
    assert (refused.value.cause, refused.value.help) == (cause, help)


def test_numbers_of_any_kind_are_compared_as_floats() -> None:
    assert paired([True, True], [False, False]).mean == 1.0
    assert paired([2**62, 2**62], [2**62 - 512, 2**62 - 512]).mean == 512.0


def test_two_pairs_are_enough() -> None:
    found = paired([1.0, 1.0], [0.0, 0.0])
    assert (found.count, found.mean, found.low, found.high) == (2, 1.0, 1.0, 1.0)
    assert found.greater == pytest.approx(1 / 4, abs=0.02) and found.two_sided == pytest.approx(1 / 2, abs=0.02)


def test_the_interval_is_of_the_middle_95_percent() -> None:
    differences = np.random.default_rng(5).normal(0.0, 1.0, 400)
    found, error = paired(differences.tolist(), [0.0] * 400), float(differences.std()) / 20
    assert found.mean - found.low == pytest.approx(1.96 * error, rel=0.06)
    assert found.high - found.mean == pytest.approx(1.96 * error, rel=0.06)
    assert paired(differences.tolist(), [0.0] * 400, seed=1) != found


def test_no_probability_is_zero_and_equal_sums_in_another_order_are_equal() -> None:
    certain = paired([1.0] * 40, [0.0] * 40)
    assert certain.greater == certain.two_sided == 1 / (module.RESAMPLES + 1)
    # Ten differences of 0.1 in any order add up to the same: half of all signs give at least nothing.
    even = paired([0.1, -0.1] * 10, [0.0] * 20)
    assert even.two_sided == 1.0 and 0.5 < even.greater < 0.65


def test_resampled_means_are_drawn_in_blocks_that_fit() -> None:
    asked: list[int] = []

    def draw(rows: int) -> Values:
        asked.append(rows)
        return np.full((rows, 3), 2.0)

    for count, block in ((3, module.RESAMPLES), (module.CELLS // 3000, 3000), (2 * module.CELLS, 1)):
        asked.clear()
        assert means(draw, count).tolist() == [2.0] * module.RESAMPLES
        assert sum(asked) == module.RESAMPLES and asked[0] == max(asked) == block and min(asked) > 0
