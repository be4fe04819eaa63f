"""What more parameters and more tokens give: L(N, D) = E + A/N^α + B/D^β, fitted to the ends of runs.

Hoffmann et al. 2022 (arXiv:2203.15556), approach 3: the Huber loss (δ = 10⁻³) of log L, from a grid of starts. L is in
bits a byte, N counts all parameters, D tokens. D is what was seen, repeated or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Point = tuple[float, float, float]
"""Parameters, tokens, bits a byte at the end of a run."""
DELTA = 1e-3
STARTS = {
    "e": (-1.0, -0.3),
    "a": (1.0, 6.0),
    "b": (1.0, 6.0),
    "alpha": (0.2, 0.6),
    "beta": (0.2, 0.6),
}


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

    def error(self, points: Sequence[Point]) -> float:
        """Root mean square of the relative errors."""
        return float(np.sqrt(np.mean([(self(n, d) / loss - 1) ** 2 for n, d, loss in points])))


def fit(points: Sequence[Point]) -> Law:
    """The law of ``points``, of which there are more than its five numbers."""
    from scipy.optimize import minimize  # type: ignore[import-untyped]

    if len(points) <= 5:
        raise ValueError(f"{len(points)} runs do not determine five numbers")
    n, d, loss = (np.log(np.array(column)) for column in zip(*points, strict=True))

    def objective(x: NDArray[np.float64]) -> float:
        e, a, b, alpha, beta = x
        logs = np.stack([np.full_like(n, e), a - alpha * n, b - beta * d])
        error = np.abs(np.logaddexp.reduce(logs, axis=0) - loss)
        return float(np.where(error <= DELTA, error**2 / 2, DELTA * (error - DELTA / 2)).sum())

    bounds = [(-3.0, 0.5), (-5.0, 25.0), (-5.0, 25.0), (0.05, 1.5), (0.05, 1.5)]
    tried = [
        minimize(objective, start, method="L-BFGS-B", bounds=bounds) for start in itertools.product(*STARTS.values())
    ]
    e, a, b, alpha, beta = min(tried, key=lambda one: one.fun).x
    return Law(float(np.exp(e)), float(np.exp(a)), float(alpha), float(np.exp(b)), float(beta))


def spread(points: Sequence[Point], parameters: float, tokens: float) -> tuple[float, float]:
    """What the law says of a model when each of the runs in turn is left out: the least and the most."""
    said = [fit([*points[:i], *points[i + 1 :]])(parameters, tokens) for i in range(len(points))]
    return min(said), max(said)
