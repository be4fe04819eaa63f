"""AdamW, fused, with the decay where it belongs."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn

from albor.config.schema.optim import Optimizer


def adamw(parameters: Iterable[nn.Parameter], optim: Optimizer) -> torch.optim.AdamW:
    """Decay on matrices only: pulling a norm's weight to zero shrinks the signal, not the capacity."""
    parameters = list(parameters)
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": optim.weight_decay, "peak_lr": optim.lr},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0, "peak_lr": optim.lr},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=True
    )
