"""Which device inference runs on when nobody says."""

from __future__ import annotations

import torch


def best_device() -> str:
    """A GPU where there is one."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"
