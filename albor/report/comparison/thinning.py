"""A series reduced to what can be seen: no spike is lost, and means stay means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from albor.report.comparison.columns import Floats


@dataclass(frozen=True)
class Curve:
    """Points of a series as they were logged, and, where some were left out, means over all of them."""

    steps: Floats
    values: Floats
    """The first point, the last, and of each bucket the lowest and the highest."""
    centres: Floats
    means: Floats
    """Of each bucket the middle of its steps and the mean of its values; empty where every point was kept. A smooth
    line is made of these: one through lowest and highest points would show neither mean nor median."""


def thinned(steps: Floats, values: Floats, buckets: int) -> Curve:
    """At most ``2 · buckets + 2`` points. Buckets hold equally many points; the last one may hold fewer."""
    count = len(steps)
    if count <= 2 * buckets + 2:
        return Curve(steps, values, np.empty(0), np.empty(0))
    width = -(-count // buckets)
    starts = np.arange(0, count, width)
    padded = np.full(len(starts) * width, np.nan)
    padded[:count] = values
    rows = padded.reshape(-1, width)
    lows = starts + np.nanargmin(rows, axis=1)
    highs = starts + np.nanargmax(rows, axis=1)
    chosen = np.unique(np.concatenate([[0], lows, highs, [count - 1]]))
    ends = np.minimum(starts + width, count) - 1
    return Curve(steps[chosen], values[chosen], (steps[starts] + steps[ends]) / 2, np.nanmean(rows, axis=1))
