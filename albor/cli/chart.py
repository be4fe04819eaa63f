"""Curves of block characters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = " ▁▂▃▄▅▆▇█"
LEVELS = len(BLOCKS) - 1


def chart(values: Sequence[float], width: int, height: int = 1) -> list[str]:
    """``height`` lines of at most ``width`` characters, the top one first; a value is a column from the bottom up.

    Values that share a column are averaged. The lowest value has the smallest block, so that it is seen.
    """
    columns = averaged(values, width)
    if not columns:
        return []
    low, high = min(columns), max(columns)
    most = LEVELS * height - 1
    heights = [1 + round(most * (v - low) / (high - low)) if high > low else 1 for v in columns]
    rows = range(height - 1, -1, -1)
    return ["".join(BLOCKS[max(0, min(LEVELS, h - LEVELS * row))] for h in heights) for row in rows]


def averaged(values: Sequence[float], width: int) -> list[float]:
    """At most ``width`` means over equal stretches of the values."""
    n = len(values)
    columns = min(n, max(0, width))
    cuts = [i * n // columns for i in range(columns + 1)] if columns else []
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(cuts)]
