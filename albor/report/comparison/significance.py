"""Whether a difference between two configs is more than their seeds vary by: Student's t, from few values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

CONFIDENCE = 0.95
ITERATIONS = 300
PRECISION = 1e-15
TINY = 1e-300


@dataclass(frozen=True)
class Test:
    """What the values of two configs say of the difference of their means."""

    kind: str
    """``paired`` by seed, or ``Welch``."""
    count: int
    """Pairs, or values of the smaller side."""
    difference: float
    low: float
    high: float
    """Ends of its 95% interval."""
    p: float
    """Two-sided."""


def compare(a: dict[str, float], b: dict[str, float], *, unpaired: bool = True) -> Test | None:
    """The test of ``a - b``, values by seed: paired where two seeds or more are in both, else Welch's where
    ``unpaired`` allows it; None where nothing can be said (fewer than two values on a side, or no spread)."""
    shared = [seed for seed in a if seed in b]
    if len(shared) > 1:
        return paired([a[seed] for seed in shared], [b[seed] for seed in shared])
    return welch(list(a.values()), list(b.values())) if unpaired else None


def paired(a: Sequence[float], b: Sequence[float]) -> Test | None:
    """Student's paired test; None for fewer than two pairs, and where all differences are the same but not zero."""
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(differences) < 2:
        return None
    error = math.sqrt(variance(differences) / len(differences))
    return _test("paired", len(differences), fmean(differences), error, len(differences) - 1)


def welch(a: Sequence[float], b: Sequence[float]) -> Test | None:
    """Welch's (1947) test, which lets the variances differ; None where a side has fewer than two values."""
    if min(len(a), len(b)) < 2:
        return None
    parts = [variance(side) / len(side) for side in (a, b)]
    error = math.sqrt(sum(parts))
    below = sum(part**2 / (len(side) - 1) for part, side in zip(parts, (a, b), strict=True))
    return _test("Welch", min(len(a), len(b)), fmean(a) - fmean(b), error, sum(parts) ** 2 / below if below else 1.0)


def _test(kind: str, count: int, difference: float, error: float, freedom: float) -> Test | None:
    if error == 0:
        return Test(kind, count, 0.0, 0.0, 0.0, 1.0) if difference == 0 else None
    reach = critical(freedom) * error
    p = two_sided(difference / error, freedom)
    return Test(kind, count, difference, difference - reach, difference + reach, p)


def two_sided(t: float, freedom: float) -> float:
    """Probability that Student's t of that many degrees of freedom is at least as far from zero."""
    return beta_share(freedom / 2, 0.5, freedom / (freedom + t * t))


def critical(freedom: float, confidence: float = CONFIDENCE) -> float:
    """The t that is exceeded, on either side, with probability ``1 - confidence``."""
    low, high = 0.0, 1.0
    while two_sided(high, freedom) > 1 - confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        if two_sided(middle, freedom) > 1 - confidence:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def beta_share(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for positive a and b and x in 0..1.

    By its continued fraction (DLMF 8.17.22) where that converges fast, below (a + 1) / (a + b + 2); above it by
    I_x(a, b) = 1 - I_{1-x}(b, a).
    """
    if not 0 < x < 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(b, a, 1 - x)
    scale = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    return math.exp(scale) / (a * _fraction(a, b, x))


def _coefficient(a: float, b: float, x: float, n: int) -> float:
    m = n // 2
    if n % 2:
        return -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
    return m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))


def _fraction(a: float, b: float, x: float) -> float:
    """1 + d_1 / (1 + d_2 / (1 + …)), by Lentz's method as Thompson and Barnett (1986) have it."""
    value = numerator = 1.0
    denominator = 0.0
    for n in range(1, ITERATIONS):
        d = _coefficient(a, b, x, n)
        denominator = 1 / _not_zero(1 + d * denominator)
        numerator = _not_zero(1 + d / numerator)
        value *= numerator * denominator
        if abs(numerator * denominator - 1) < PRECISION:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > TINY else TINY


def holm(probabilities: Sequence[float]) -> list[float]:
    """The probabilities, adjusted for how many questions were asked (Holm 1979)."""
    order = sorted(range(len(probabilities)), key=lambda i: probabilities[i])
    adjusted, least = [1.0] * len(probabilities), 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * probabilities[i]))
        adjusted[i] = least
    return adjusted
