"""One tensor of several: spherical and linear interpolation, and sums of differences from a base.

Tensors of one shape come in, in any floating-point dtype; the sums are taken in float32 at least.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from albor.config.merging import model_weights
from albor.config.schema.merge import Dare, Merge, Slerp, TaskVectors, Ties
from albor.models.errors import ModelError

PARALLEL = 0.9995
"""Cosine above which the arc is a straight line to four digits; mergekit's."""
OPPOSITE = 1e-3
"""Sine below which two directions that are not parallel are opposite: no arc between them is the shortest."""
CHUNK = 1 << 18
"""Numbers that are worked on at once: they stay in the processor's cache."""


def merge(method: Merge, tensors: Sequence[Tensor], base: Tensor | None = None, *, name: str, seed: int) -> Tensor:
    """The merged tensor, in the dtype that all inputs convert to without loss.

    Args:
        name: the tensor's name in its model, which with ``seed`` and the model's place among the inputs determines what
            DARE drops.

    Raises:
        ModelError: shapes differ.
        AlborError: the method cannot take so many tensors or weights, or needs a base.
    """
    weights = model_weights(method, len(tensors), has_base=base is not None)
    if base is None:
        return slerp(tensors[0], tensors[1], method.t) if isinstance(method, Slerp) else linear(tensors, weights)
    assert isinstance(method, TaskVectors), "checked above"
    dtype = _common_dtype(*tensors, base)
    start = base.to(_working(dtype))
    deltas = [
        _thinned(method, tensor.to(start.dtype) - start, f"{seed}/{i}/{name}") for i, tensor in enumerate(tensors)
    ]
    total = _sum(deltas, weights, method)
    return total.mul_(method.scale).add_(start).to(dtype)


def slerp(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The tensor at the share ``t`` of the way from ``a`` to ``b`` along the arc between them.

    sin((1−t)θ)/sin θ · a + sin(tθ)/sin θ · b, where θ is the angle between the two, each taken as one long vector.
    Linear where there is no arc: when the angle or a norm vanishes, or the directions are opposite. t of 0 and 1 give
    copies of ``a`` and ``b``.

    Raises:
        ModelError: the shapes are not the same.
    """
    dtype = _common_dtype(a, b)
    if t in (0, 1):
        return (b if t else a).to(dtype, copy=True)
    of_a, of_b = _arc(a.flatten(), b.flatten(), t)
    return linear((a, b), (of_a, of_b))


def linear(tensors: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Σ wᵢ·xᵢ. Raises ModelError when the shapes are not the same."""
    dtype = _common_dtype(*tensors)
    return _weighted(tensors, weights, _working(dtype)).to(dtype)


def trim(delta: Tensor, density: float) -> Tensor:
    """``delta`` with all but the share ``density`` of largest magnitude set to 0 (one number at least stays).

    Of equal magnitudes the first stay.
    """
    kept = max(1, int(density * delta.numel()))
    if kept >= delta.numel():
        return delta
    delta = delta.contiguous()
    size = delta.abs().flatten().cpu().numpy()
    rank = size.size - kept
    size.partition(rank)  # in a quarter of the time of torch's kthvalue
    least = size[rank]
    if not least:
        return delta
    # Of all ways to set numbers to 0 the fastest: those whose magnitude is at most this.
    trimmed = F.hardshrink(delta, float(np.nextafter(least, np.zeros_like(least))))
    surplus = int(trimmed.count_nonzero()) - kept
    if surplus:
        trimmed.view(-1)[(trimmed.abs() == float(least)).flatten().nonzero()[-surplus:]] = 0
    return trimmed


def drop(delta: Tensor, density: float, key: str, *, rescale: bool) -> Tensor:
    """``delta`` with each number kept with probability ``density``, else 0; ``rescale`` divides by the density.

    What is kept depends on ``key`` alone. Drawn on the CPU, so that every device drops the same.
    """
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "little")
    kept = torch.rand(delta.shape, generator=torch.Generator().manual_seed(seed)) < density
    return delta * kept.to(delta.device) * (1 / density if rescale else 1.0)


def _thinned(method: TaskVectors, delta: Tensor, key: str) -> Tensor:
    if isinstance(method, Ties):
        return trim(delta, method.density)
    if isinstance(method, Dare):
        return drop(delta, method.density, key, rescale=method.rescale)
    return delta


def _sum(deltas: Sequence[Tensor], weights: Sequence[float], method: TaskVectors) -> Tensor:
    """The merged difference, before it is scaled.

    With an election, a number counts only where its weighted sign is that of the weighted sum (an even sum is
    positive), and zeros do not count.
    """
    if isinstance(method, Ties) or (isinstance(method, Dare) and method.variant == "ties"):
        parts = zip(*(delta.flatten().split(CHUNK) for delta in deltas), strict=True)
        elected = [_elected(part, weights, normalise=method.normalise) for part in parts]
        return torch.cat(elected).view(deltas[0].shape)
    total, whole = _weighted(deltas, weights, deltas[0].dtype), math.fsum(weights)
    return total.div_(whole) if method.normalise and abs(whole) > 1e-8 else total


def _elected(deltas: Sequence[Tensor], weights: Sequence[float], *, normalise: bool) -> Tensor:
    """The sum of what has the sign of the weighted sum, place by place."""
    total = _weighted(deltas, weights, deltas[0].dtype)
    sign = torch.where(total >= 0, 1.0, -1.0).to(total.dtype)
    merged, shares = torch.zeros_like(total), torch.zeros_like(total)
    for delta, weight in zip(deltas, weights, strict=True):
        agreeing = (delta * sign).mul_(weight).clamp_min_(0)
        merged.add_(agreeing)
        if normalise:
            shares.add_(agreeing.sign_(), alpha=weight)
    merged.mul_(sign)
    return merged.div_(shares.masked_fill_(shares == 0, 1)) if normalise else merged


def _weighted(tensors: Sequence[Tensor], weights: Sequence[float], dtype: torch.dtype) -> Tensor:
    total = tensors[0].to(dtype) * weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor.to(dtype), alpha=weight)
    return total


def _arc(x: Tensor, y: Tensor, t: float) -> tuple[float, float]:
    """The weights of the two vectors. The products are summed in float64, a chunk at a time."""
    xx = yy = xy = 0.0
    for p, q in zip(x.split(CHUNK), y.split(CHUNK), strict=True):
        p, q = p.double(), q.double()
        xx, yy, xy = xx + float(p @ p), yy + float(q @ q), xy + float(p @ q)
    norms = math.sqrt(xx) * math.sqrt(yy)
    cosine = xy / norms if norms else 1.0
    angle = math.acos(max(-1.0, min(1.0, cosine)))
    if cosine > PARALLEL or math.sin(angle) < OPPOSITE:
        return 1 - t, t
    return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


def _common_dtype(first: Tensor, *others: Tensor) -> torch.dtype:
    """The dtype that holds all numbers of tensors of one shape. Raises ModelError when the shapes differ."""
    dtype = first.dtype
    for other in others:
        if other.shape != first.shape:
            raise ModelError(
                f"tensors of shapes {list(first.shape)} and {list(other.shape)} cannot be merged",
                help="merge models of one architecture and vocabulary",
            )
        dtype = torch.promote_types(dtype, other.dtype)
    return dtype


def _working(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)
