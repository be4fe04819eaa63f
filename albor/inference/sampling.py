"""From logits to the next token, each request with random numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from albor.inference.engine import Sampling


def draws(seed: int, count: int) -> np.ndarray:
    """A request's uniform numbers [count] in [0, 1), float32; the first ones do not depend on ``count``."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def knobs(samplings: Sequence[Sampling]) -> np.ndarray:
    """1 / temperature and top_p [B, 2], float32, as choosing takes them.

    A temperature of 0 is a top_p of 0, which keeps the likeliest token alone; with 0 for a uniform number, the first
    of several.
    """
    rows = [(1 / s.temperature, s.top_p) if s.temperature else (1.0, 0.0) for s in samplings]
    return np.array(rows, np.float32).reshape(-1, 2)


def narrow(logits: Tensor, top_k: Tensor, ordered: Tensor) -> Tensor:  # gpu
    """``logits`` [B, V] with all but the ``top_k`` [B] likeliest at -inf, and those as likely as the last of these;
    0 keeps all. ``ordered`` [B, N] are the highest ones, the highest first."""
    last = ordered.gather(1, (top_k - 1).clamp(0, ordered.shape[1] - 1)[:, None])
    return logits.masked_fill((logits < last) & (top_k > 0)[:, None], float("-inf"))
