"""The paired test on made values: its size, its power, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from albor.errors import AlborError
from albor.evals.paired import paired


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
    ("a", "b", "cause"),
    [([1.0], [2.0], "1 pairs"), ([1.0, 2.0], [1.0], "cannot be paired"), ([1.0, float("nan")], [1, 2], "not finite")],
)
def test_what_cannot_be_compared_is_refused(a, b, cause) -> None:
    with pytest.raises(AlborError, match=cause):
        paired(a, b)
