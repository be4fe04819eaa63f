"""From logits to the next token, each request with random numbers of its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from albor.inference.engine import Sampling

if torch.cuda.is_available():  # gpu
    from albor.inference import kernels


def draws(seed: int, count: int) -> np.ndarray:
    """A request's uniform numbers [count] in [0, 1), float32; the first ones do not depend on ``count``."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def knobs(samplings: Sequence[Sampling]) -> np.ndarray:
    """1 / temperature and top_p [B, 2], float32, as ``choose`` takes them.

    A temperature of 0 is a top_p of 0, which keeps the likeliest token alone; with 0 for a uniform number, the first
    of several.
    """
    rows = [(1 / s.temperature, s.top_p) if s.temperature else (1.0, 0.0) for s in samplings]
    return np.array(rows, np.float32).reshape(-1, 2)


def narrow(logits: Tensor, top_k: Tensor, ordered: Tensor) -> Tensor:
    """``logits`` [B, V] with all but the ``top_k`` [B] likeliest at -inf, and those as likely as the last of these;
    0 keeps all. ``ordered`` [B, N] are the highest ones, the highest first."""
    last = ordered.gather(1, (top_k - 1).clamp(0, ordered.shape[1] - 1)[:, None])
    return logits.masked_fill((logits < last) & (top_k > 0)[:, None], float("-inf"))


def choose(logits: Tensor, uniform: Tensor, knobs: Tensor) -> Tensor:
    """The next token [B] from logits [B, V], one uniform number per row [B] and ``knobs`` [B, 2], all float32.

    After the temperature, the fewest likeliest tokens whose probabilities reach top_p stay (Holtzman et al., 2020), and
    with the last of them all that are exactly as likely; the draw inverts their distribution function, in the order
    of token ids.
    """
    if logits.is_cuda:  # gpu
        return kernels.choose(logits, uniform, knobs)
    rows = (part.detach().cpu().numpy() for part in (logits, uniform, knobs))
    return torch.tensor([_chosen(*row) for row in zip(*rows, strict=True)], device=logits.device)


def _chosen(logits: np.ndarray, uniform: float, knobs: np.ndarray) -> int:
    """One row's token.

    In NumPy, which works on one core: torch's threads would go on waiting for work where llama.cpp's are to compute.
    """
    sharpness, top_p = knobs
    if top_p == 0:
        return int(logits.argmax())
    depths = (logits.max() - logits) * sharpness
    shares = np.exp(-depths.astype(np.float64))
    kept = np.arange(len(logits))
    if top_p < 1:
        # Tokens of less than (1 - top_p) / V each do not reach 1 - top_p together, so the others reach top_p: only
        # those need an order.
        whole = shares.sum()
        kept = np.flatnonzero(shares >= (1 - float(top_p)) / len(logits) * whole)
        ordered = np.sort(depths[kept])
        reached = np.exp(-ordered.astype(np.float64)).cumsum()
        last = ordered[min(int((reached < float(top_p) * whole).sum()), len(ordered) - 1) :][:1]
        kept = kept[(depths[kept] <= last) if len(last) else []]
    reached = shares[kept].cumsum()
    if not len(reached):
        return len(logits) - 1  # of logits that are not numbers
    return int(kept[min(np.searchsorted(reached, uniform * reached[-1], side="right"), len(kept) - 1)])
