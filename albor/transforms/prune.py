"""Which weights to keep: those of the highest scores (Wanda: Sun et al., 2023)."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from albor.config.schema.prune import Pattern

Group = Literal["row", "tensor"]
"""What scores are compared within: the weights of one output, or all."""


def wanda_scores(weight: Tensor, input_norms: Tensor) -> Tensor:
    """|w|·‖x‖₂ [out, in], of a weight [out, in] and the norm of each input over the calibration tokens [in]."""
    return weight.abs() * input_norms


def keep_mask(scores: Tensor, sparsity: float, *, per: Group = "row") -> Tensor:
    """True for the weights to keep [out, in]: in each group, none that goes has a higher score than one that stays.

    Of all weights the share ``sparsity`` goes, to half a weight: where it is not a whole number of a row, rows lose one
    more or one less (C-KERNEL-008). Of equal scores the first go.

    Args:
        scores: [out, in].
        sparsity: the share to remove, 0 to 1.
        per: what scores are compared within.
    """
    groups = scores if per == "row" else scores.reshape(1, -1)
    rows, width = groups.shape
    removed = (torch.arange(rows + 1, dtype=torch.float64, device=scores.device) * width * sparsity).round().long()
    stays = torch.arange(width, device=scores.device) >= removed.diff()[:, None]
    return stays.scatter(-1, groups.argsort(dim=-1, stable=True), stays).view(scores.shape)


def pattern_mask(scores: Tensor, sparsity: float, pattern: Pattern, *, per: Group = "row") -> Tensor:
    """``keep_mask`` with zeros where ``pattern`` lets them be: n:m compares each m neighbouring inputs of an output."""
    if pattern == "unstructured":
        return keep_mask(scores, sparsity, per=per)
    groups = scores.unflatten(-1, (-1, int(pattern.split(":")[1])))
    return keep_mask(groups.flatten(0, -2), sparsity).view(scores.shape)
