"""What more parameters and more tokens give: L(N, D) = E + A/N^α + B/D^β, fitted to the ends of runs.

Hoffmann et al. 2022 (arXiv:2203.15556), approach 3: the Huber loss (δ = 10⁻³) of log L, from a grid of starts. L is in
bits a byte, N counts all parameters, D tokens. D is what was seen, repeated or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]
"""Parameters, tokens, bits a byte at the end of a run."""
DELTA = 1e-3
STARTS = tuple(itertools.product((-1.0, -0.3), (2.0, 6.0), (2.0, 6.0), (0.35,), (0.35,)))
"""log E, log A, log B, α, β."""
BOUNDS = ((-3.0, -5.0, -5.0, 0.05, 0.05), (0.5, 25.0, 25.0, 1.5, 1.5))


@dataclass(frozen=True)
class Law:
    """A fitted law."""

    floor: float
    a: float
    alpha: float
    b: float
    beta: float

    def __call__(self, parameters: float, tokens: float) -> float:
        return float(self.floor + self.a / parameters**self.alpha + self.b / tokens**self.beta)


def fit(points: Sequence[Point], starts: Iterable[Sequence[float]] = STARTS) -> Law:
    """The law of ``points``, of which there are more than its five numbers."""
    from scipy.optimize import least_squares  # type: ignore[import-untyped]

    if len(points) <= 5:
        raise ValueError(f"{len(points)} runs do not determine five numbers")
    n, d, loss = (np.log(np.array(column)) for column in zip(*points, strict=True))

    def terms(x: NDArray[np.float64]) -> NDArray[np.float64]:
        e, a, b, alpha, beta = x
        return np.stack([np.full_like(n, e), a - alpha * n, b - beta * d])

    def residuals(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(np.logaddexp.reduce(terms(x), axis=0) - loss)

    def jacobian(x: NDArray[np.float64]) -> NDArray[np.float64]:
        e, a, b = np.exp(terms(x) - np.logaddexp.reduce(terms(x), axis=0))
        return np.stack([e, a, b, -a * n, -b * d], axis=1)

    tried = [
        least_squares(residuals, start, jacobian, bounds=BOUNDS, loss="huber", f_scale=DELTA, x_scale="jac")
        for start in starts
    ]
    e, a, b, alpha, beta = min(tried, key=lambda one: one.cost).x
    return Law(float(np.exp(e)), float(np.exp(a)), float(alpha), float(np.exp(b)), float(beta))


def held_out(points: Sequence[Point]) -> list[float]:
    """For each run, what a law fitted to the others says of it, as a share of what it reached: 1 is right."""
    laws = [fit([*points[:i], *points[i + 1 :]]) for i in range(len(points))]
    return [law(n, d) / loss for law, (n, d, loss) in zip(laws, points, strict=True)]


def redrawn(points: Sequence[Point], noise: float, times: int = 100) -> list[Law]:
    """Laws of the same runs with other luck: each end multiplied by 1 + ``noise`` · a normal deviate."""
    draw = np.random.default_rng(0)
    law = fit(points)
    start = (np.log(law.floor), np.log(law.a), np.log(law.b), law.alpha, law.beta)
    starts = [tuple(np.clip(start, *BOUNDS)), STARTS[0]]
    return [fit([(n, d, x * (1 + noise * draw.standard_normal())) for n, d, x in points], starts) for _ in range(times)]
