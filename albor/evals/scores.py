"""From verdicts to numbers: pass@k without bias, and how far it could be off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albor.evals.paired import means

LEVEL = 0.95
"""Share of the resamples that an interval holds."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that one of ``k`` completions passes, of ``n`` of which ``c`` did: 1 − C(n−c, k) / C(n, k), as a
    product that does not overflow (Chen et al., 2021, equation 1).

    Raises ValueError unless 0 ≤ c ≤ n and 1 ≤ k ≤ n.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"n = {n}, c = {c}, k = {k}: 0 <= c <= n and 1 <= k <= n are needed")
    if n - c < k:
        return 1.0
    return float(1.0 - np.prod(1.0 - k / np.arange(n - c + 1, n + 1)))


def interval(values: Sequence[float], *, seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap interval of the mean over problems (percentile method).

    Where none or all pass, every resample is alike and says nothing: then it is the exact one of Clopper and Pearson
    (1934), 0 to 1 − 0.025^(1/n) or its mirror image.
    """
    found: NDArray[np.float64] = np.asarray(values, dtype=np.float64)
    tail = ((1 - LEVEL) / 2) ** (1 / len(found))
    if not found.any():
        return 0.0, 1 - tail
    if (found == 1).all():
        return tail, 1.0
    draw = np.random.default_rng(seed)
    drawn = means(lambda rows: found[draw.integers(0, len(found), (rows, len(found)))], len(found))
    low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def summarise(passed: Mapping[str, Sequence[bool]], pass_at: Sequence[int], *, name: str = "pass") -> dict[str, Any]:
    """pass@k with its interval for every k up to the number of completions that each problem has."""
    fewest = min(map(len, passed.values()))
    found: dict[str, Any] = {"problems": len(passed), "samples": fewest}
    for k in sorted({k for k in pass_at if k <= fewest} or {1}):
        values = [pass_at_k(len(p), sum(p), k) for p in passed.values()]
        low, high = interval(values)
        found[f"{name}@{k}"] = {"value": float(np.mean(values)), "low": low, "high": high}
    return found
