"""FALSIFY-ALBOR-007: spherical interpolation keeps norms."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from albor.audit.predictions.base import Judgment, Material, judged, prediction

if TYPE_CHECKING:
    from torch import Tensor

SHARE = 0.01
PAIRS = 10_000
WIDTH = 64
WIDEST = 3.13
"""Largest angle that is drawn, in radians: between opposite directions there is no arc."""
NARROWEST = -6.0
"""Power of ten of the smallest: half of the angles are drawn evenly, the other half evenly in their logarithm."""
NORMS = (-3.0, 3.0)
"""Powers of ten between which the norm that two vectors have in common is drawn."""
SEED = 0


@prediction(
    7,
    "SLERP keeps the norm",
    f"the norm of the result is within {SHARE:.0%} over {PAIRS:,} pairs",
    ("merge",),
)
def slerp(material: Material) -> Judgment:
    """The pairs are drawn and merged here and now; no run is looked at."""
    apart, at = largest()
    text = (
        f"at most {apart:.2e} of the norm, between vectors {math.degrees(at):.4g}° apart, over {PAIRS:,} pairs of "
        f"{WIDTH} numbers (seed {SEED}) of one norm, up to {math.degrees(WIDEST):.0f}° apart"
    )
    return judged(apart <= SHARE, text, pairs=PAIRS, seed=SEED, largest=apart, angle=at)


def largest() -> tuple[float, float]:
    """The largest share by which the norm of a result differs from that of the two, and the angle between them."""
    from albor.transforms.merge import slerp

    return largest_by(slerp)


@cache
def largest_by(slerp: Callable[..., Tensor]) -> tuple[float, float]:
    """Drawn once: the cards of a ladder's rungs all ask."""
    import torch

    generator = torch.Generator().manual_seed(SEED)
    draws = torch.rand(4, PAIRS, 1, generator=generator, dtype=torch.float64)
    a, other = torch.randn(2, PAIRS, WIDTH, generator=generator, dtype=torch.float64)
    a = a / a.norm(dim=1, keepdim=True)
    aside = other - (other * a).sum(1, keepdim=True) * a
    angles = WIDEST * torch.where(draws[0] < 0.5, draws[1], 10 ** (NARROWEST * draws[1]))
    b = angles.cos() * a + angles.sin() * aside / aside.norm(dim=1, keepdim=True)
    norms = 10 ** (NORMS[0] + (NORMS[1] - NORMS[0]) * draws[2])
    left, right = (norms * a).float(), (norms * b).float()
    pairs = zip(left, right, draws[3, :, 0].tolist(), strict=True)
    merged = torch.stack([slerp(x, y, share) for x, y, share in pairs]).double()
    apart = (merged.norm(dim=1) / norms[:, 0] - 1).abs()
    at = int(apart.argmax())  # the first that is not a number, if one is none
    return float(apart[at]), float(angles[at])
