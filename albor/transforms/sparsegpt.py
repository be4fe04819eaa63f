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
    w, inverse = weight.float().clone(), _inverse_factor(hessian, method.dampening)
    dead = hessian.diagonal() == 0
    keep = torch.ones_like(w, dtype=torch.bool)
    group = method.block if method.pattern == "unstructured" else int(method.pattern.split(":")[1])
    # No group of n:m lies in two blocks.
    width = -(-method.block // group) * group
    for start in range(0, w.shape[1], width):
        part = slice(start, min(start + width, w.shape[1]))
        errors = torch.zeros_like(w[:, part])
        for column in range(part.start, part.stop):
            if (column - start) % group == 0:
                chosen = slice(column, min(column + group, part.stop))
                scores = (w[:, chosen] / inverse.diagonal()[chosen]).square().masked_fill(dead[chosen], 0)
                keep[:, chosen] = pattern_mask(scores, method.sparsity, method.pattern, per="tensor")
            gone = w[:, column] * ~keep[:, column]
            error = errors[:, column - start] = gone / inverse[column, column]
            w[:, column : part.stop] -= error.outer(inverse[column, column : part.stop])
        w[:, part.stop :] -= errors @ inverse[part, part.stop :]
    return (w * keep).to(weight.dtype)


def _inverse_factor(hessian: Tensor, dampening: float) -> Tensor:
    """The upper Cholesky factor of the inverse of the dampened Hessian."""
    h = hessian.double()
    diagonal = h.diagonal()
    h = h + torch.diag(torch.where(diagonal == 0, 1.0, 0.0) + dampening * diagonal.mean())
    inverse: Tensor = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    return inverse.float()
