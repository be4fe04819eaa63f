"""Whether one of two systems is better on the same items: a sign-flip test of the paired differences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from albor.errors import AlborError

RESAMPLES = 10_000
CELLS = 1 << 22
"""Values drawn at a time: 32 MB of them."""
CONFIDENCE = 0.95
ROUNDING = 1e-12
"""Share of the mean size by which sums of the same differences in another order may differ."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Paired:
    """What the differences ``a - b`` of the pairs say."""

    count: int
    mean: float
    """The effect, in the unit of the values."""
    low: float
    high: float
    """Bootstrap interval of the mean, 95% (percentiles)."""
    two_sided: float
    """Probability of a mean at least as far from zero when neither is the larger."""
    greater: float
    """Probability of a mean at least as large when ``a`` is not the larger."""


def paired(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> Paired:
    """The test on ``a`` and ``b``, of which equal places belong together; the same values and seed give the same.

    When neither is the larger, every difference could as well have had the other sign. The mean is compared with those
    of 10,000 random choices of signs; it counts as one of them itself, so no probability is 0 (Phipson and Smyth 2010).

    Raises AlborError for fewer than two pairs, for lists of unequal lengths, and for values that are not finite.
    """
    if len(a) != len(b):
        raise AlborError(f"{len(a):,} values cannot be paired with {len(b):,}", "measure both on the same items")
    if len(a) < 2:
        raise AlborError(f"{len(a)} pairs say nothing about a difference", "measure on more items")
    differences = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if not np.isfinite(differences).all():
        raise AlborError("a value to compare is not finite", "look at the evaluation that it is from")
    random, count = np.random.default_rng(seed), len(differences)
    mean = float(differences.mean())
    flipped = means(lambda rows: differences * random.choice((-1.0, 1.0), (rows, count)), count)
    drawn = means(lambda rows: differences[random.integers(0, count, (rows, count))], count)
    rounding = ROUNDING * float(np.abs(differences).mean())
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]).tolist()
    return Paired(
        count=count,
        mean=mean,
        low=low,
        high=high,
        two_sided=_probability(np.abs(flipped) >= abs(mean) - rounding),
        greater=_probability(flipped >= mean - rounding),
    )


def means(draw: Callable[[int], Values], count: int) -> Values:
    """The means of ``RESAMPLES`` rows of ``count`` values, which ``draw`` makes some at a time."""
    block = max(1, CELLS // count)
    sizes = [min(block, RESAMPLES - start) for start in range(0, RESAMPLES, block)]
    return np.concatenate([draw(rows).mean(axis=1) for rows in sizes])


def _probability(hits: NDArray[np.bool_]) -> float:
    return float((1 + np.count_nonzero(hits)) / (1 + len(hits)))
