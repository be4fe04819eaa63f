"""Numbers with units: "1B" tokens, "512MiB", "2h"."""

from __future__ import annotations

import re
from decimal import Context

from albor.config.types import Dimension

UNITS: dict[Dimension, dict[str, float]] = {
    "count": {"k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "T": 1e12},
    "bytes": {
        **{f"{p}B": 1000.0**i for i, p in enumerate(("", "k", "M", "G", "T"))},
        **{f"{p}iB": 1024.0**i for i, p in enumerate(("", "K", "M", "G", "T"))},
        "KB": 1000.0,
    },
    "seconds": {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86400},
}
NUMBER_WITH_UNIT = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)\s*([A-Za-z]*)\s*")
EXACT = Context(prec=64, traps=[])
"""1.001k is 1001, not 1000.9999999999999; what no number can hold is infinite."""


def parse_quantity(text: str, dimension: Dimension) -> float:
    """The plain number that ``text`` stands for. Raises ValueError, naming the units that exist."""
    units = UNITS[dimension]
    match = NUMBER_WITH_UNIT.fullmatch(text)
    if match is None or (match[2] and match[2] not in units):
        example = {"count": "1B", "bytes": "512MiB", "seconds": "2h"}[dimension]
        known = ", ".join(u for u in units if u)
        raise ValueError(f"'{text}' is not a number with a unit; write a plain number or use {known} ({example})")
    number = EXACT.create_decimal(match[1].replace("_", ""))
    return float(EXACT.multiply(number, EXACT.create_decimal(units.get(match[2], 1))))


def _short(x: float) -> str:
    """Three digits, or all of a larger number: never 1e+03."""
    return f"{x:.3g}" if x < 999.5 else f"{x:,.0f}"


def human_count(n: float) -> str:
    """1234 → '1,234', 62_403_072 → '62.4M', 1e12 → '1T'."""
    for size, suffix in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if n >= 0.9995 * size:
            return f"{_short(n / size)}{suffix}"
    return f"{n:,.0f}"


def human_bytes(n: float) -> str:
    for size, suffix in ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB")):
        if n >= size:
            return f"{_short(n / size)} {suffix}"
    return f"{n:.0f} B"


def human_seconds(s: float) -> str:
    if s < 90:
        return f"{s:.3g} s"
    if s < 90 * 60:
        return f"{s / 60:.3g} min"
    return f"{s / 3600:.3g} h" if s < 72 * 3600 else f"{_short(s / 86400)} days"
