"""Which device inference runs on when nobody says, and in which dtype."""

from __future__ import annotations

import torch


def best_device() -> str:
    """A GPU where there is one."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_dtype(device: str) -> torch.dtype:
    """The computing dtype: bfloat16 on CUDA, else float32."""
    return torch.bfloat16 if torch.device(device).type == "cuda" else torch.float32
