"""Gradient clipping: by a fixed global norm, and by how unusual the norm is (ZClip)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from albor.config.schema.optim import Optimizer

ALPHA = 0.97
"""Weight of the past in ZClip's running mean and variance."""
WARMUP = 25
"""Norms from which ZClip takes its first mean and variance."""
EPS = 1e-6
NAMES = ("count", "mean", "variance")


class Clip:
    """Scales gradients down to a global norm of at most ``optim.clip_norm``; with ``optim.zclip``, also when it spikes.

    ZClip (Kumar et al., 2025, arXiv:2504.02507), with μ and σ² the running mean and variance of the norm g, and
    z = (g − μ) / (σ + ε): where z > zclip, g is clipped to g' = μ + (zclip² / z)·σ, the harder the further it lies out;
    else g' = g. Then μ ← αμ + (1 − α)g' and σ² ← ασ² + (1 − α)(g' − μ)², α = 0.97. The first 25 norms give the first μ
    and σ² and are not clipped so. The statistics are of g', before clip_norm. A norm that is not finite does not enter
    them. Everything stays on the device.
    """

    def __init__(self, optim: Optimizer, device: torch.device) -> None:
        self.clip_norm, self.zclip = optim.clip_norm, optim.zclip
        self._statistics = torch.zeros(len(NAMES), device=device)

    @torch.no_grad()
    def __call__(self, parameters: Iterable[nn.Parameter]) -> tuple[Tensor, Tensor]:
        """Scales the gradients in place; gives their global norm before and after (float32 scalars on the device).

        Sharded gradients have the norm of the whole ones, which every rank has to ask for. A norm that is not finite is
        given twice: there is nothing sensible to scale to.
        """
        with_gradient = [p for p in parameters if p.grad is not None]
        norm = torch.nn.utils.get_total_norm([p.grad for p in with_gradient if p.grad is not None])
        if isinstance(norm, DTensor):
            norm = norm.full_tensor()
        limit = fixed = torch.full_like(norm, self.clip_norm)
        if self.zclip is not None:
            limit = torch.minimum(fixed, self._spike_limit(norm, self.zclip))
        # torch scales by clip_norm / norm and takes the first from the host: so the second carries the limit.
        torch.nn.utils.clip_grads_with_norm_(with_gradient, self.clip_norm, norm * (fixed / limit))
        return norm, torch.where(norm.isfinite(), torch.minimum(norm, limit), norm)

    def _spike_limit(self, norm: Tensor, zclip: float) -> Tensor:
        """ZClip's bound on ``norm``, infinite when it is nothing unusual; takes the norm into the statistics."""
        count, mean, variance = self._statistics
        warming, std = count < WARMUP, variance.sqrt()
        z = (norm - mean) / (std + EPS)
        limit = torch.where(~warming & (z > zclip), mean + zclip**2 / z * std, torch.inf)
        clipped = torch.minimum(norm, limit)
        weight = torch.where(warming, 1 / (count + 1), 1 - ALPHA)
        new_mean = mean + weight * (clipped - mean)
        # Until the warmup ends, the plain variance so far (Welford, 1962); then the moving one.
        square = (clipped - new_mean) * torch.where(warming, clipped - mean, clipped - new_mean)
        updated = torch.stack(((count + 1).clamp(max=WARMUP), new_mean, variance + weight * (square - variance)))
        self._statistics = torch.where(norm.isfinite(), updated, self._statistics)
        return limit

    def state(self) -> dict[str, float]:
        """ZClip's statistics, for ``load``: float32 values, which survive JSON."""
        return dict(zip(NAMES, self._statistics.tolist(), strict=True))

    def load(self, state: Mapping[str, float]) -> None:
        self._statistics = torch.tensor([state[name] for name in NAMES], device=self._statistics.device)
