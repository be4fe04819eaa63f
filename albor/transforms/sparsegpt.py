"""SparseGPT: one matrix pruned so that its output on calibration rows changes least (Frantar and Alistarh, 2023)."""

from __future__ import annotations

import torch
from torch import Tensor

from albor.config.schema.prune import SparseGpt
from albor.transforms.prune import pattern_mask


def sparsegpt(weight: Tensor, hessian: Tensor, method: SparseGpt) -> Tensor:
    """The pruned matrix [out, in] of a ``weight`` and the XᵀX [in, in] of its inputs; what stays has other values.

    Input by input, weights of the lowest w²/[H⁻¹]² go, chosen for ``method.block`` inputs at once, and the inputs
    after them make up for the error, w/[H⁻¹] times their row of H⁻¹ (the paper's algorithm 1, H⁻¹ by its Cholesky
    factor). n:m is chosen a group at a time, after the inputs before it have been made up for. Weights of inputs that
    were always 0 go first.
    """
    inverse, dead = _inverse_factor(hessian, method.dampening), hessian.diagonal() == 0
    w = weight.float().T.contiguous()  # [in, out]: an input's weights lie side by side
    keep = torch.ones_like(w, dtype=torch.bool)
    group = method.block if method.pattern == "unstructured" else int(method.pattern.split(":")[1])
    # No group of n:m lies in two blocks.
    size = -(-method.block // group) * group
    for start in range(0, len(w), size):
        stop = min(start + size, len(w))
        errors = torch.zeros_like(w[start:stop])
        for i in range(start, stop):
            if (i - start) % group == 0:
                chosen = slice(i, min(i + group, stop))
                scores = (w[chosen].T / inverse.diagonal()[chosen]).square().masked_fill(dead[chosen], 0)
                keep[chosen] = pattern_mask(scores, method.sparsity, method.pattern, per="tensor").T
            errors[i - start] = w[i] * ~keep[i] / inverse[i, i]
            w[i:stop] -= inverse[i, i:stop].outer(errors[i - start])
        w[stop:] -= inverse[start:stop, stop:].T @ errors
    return (w * keep).T.contiguous().to(weight.dtype)


def _inverse_factor(hessian: Tensor, dampening: float) -> Tensor:
    """The upper Cholesky factor of the inverse of the dampened Hessian."""
    h = hessian.double()
    diagonal = h.diagonal()
    h = h + torch.diag(torch.where(diagonal == 0, 1.0, 0.0) + dampening * diagonal.mean())
    inverse: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    return inverse.float()
