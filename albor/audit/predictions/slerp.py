"""FALSIFY-ALBOR-007: spherical interpolation keeps norms."""

from __future__ import annotations

from albor.audit.predictions.base import Judgment, Material, prediction, untested

SHARE = 0.01
PAIRS = 10_000


@prediction(
    7,
    "SLERP keeps the norm",
    f"the norm of the result is within {SHARE:.0%} over {PAIRS:,} pairs",
    ("merge",),
)
def slerp(material: Material) -> Judgment:
    return untested("no run merges yet", "python -m albor stage=merge")
