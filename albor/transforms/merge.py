"""One tensor of two: spherical interpolation (Shoemake, 1985), each tensor taken as one long vector."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from albor.models.errors import ModelError

PARALLEL = 0.9995
"""Cosine above which the arc is a straight line to four digits; mergekit's."""
OPPOSITE = 1e-3
"""Sine below which two directions that are not parallel are opposite: no arc between them is the shortest."""


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The tensor at the share ``t`` of the way from ``a`` to ``b`` along the arc between them.

    sin((1−t)θ)/sin θ · a + sin(tθ)/sin θ · b, where θ is the angle between the two. Linear where there is no arc: when
    the angle or a norm vanishes, or the directions are opposite. t of 0 and 1 give copies of ``a`` and ``b``.

    Raises:
        ModelError: the shapes are not the same.
    """
    if a.shape != b.shape:
        raise ModelError(
            f"tensors of shapes {list(a.shape)} and {list(b.shape)} cannot be merged",
            help="merge models of one architecture and vocabulary",
        )
    if t in (0, 1):
        return (b if t else a).clone()
    x, y = a.to(torch.promote_types(a.dtype, torch.float32)), b.to(torch.promote_types(b.dtype, torch.float32))
    of_a, of_b = _arc(x, y, t)
    return (of_a * x + of_b * y).to(a.dtype)


def _arc(x: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    """The weights of the two."""
    p, q = x.flatten().double(), y.flatten().double()
    norms = float(p.norm() * q.norm())
    cosine = float(p @ q) / norms if norms else 1.0
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if cosine > PARALLEL or math.sin(angle) < OPPOSITE:
        return 1 - t, t
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
