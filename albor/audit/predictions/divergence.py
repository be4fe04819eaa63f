"""FALSIFY-ALBOR-004: the divergence from the teacher is not negative."""

from __future__ import annotations

from albor.audit.predictions.base import Judgment, Material, prediction, untested

LEAST = -1e-7
PAIRS = 10_000


@prediction(
    4,
    "the KL divergence is not negative",
    f"KL ≥ {LEAST:g} over {PAIRS:,} random pairs of logits and over training",
    ("distill",),
)
def divergence(material: Material) -> Judgment:
    return untested("no run distils yet", "python -m albor stage=distill")
