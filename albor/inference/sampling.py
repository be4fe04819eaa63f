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
    logits, uniform, knobs = logits.cpu(), uniform.cpu(), knobs.cpu()  # not every device has float64
    sharpness, top_p = knobs[:, :1], knobs[:, 1:].double()
    if not top_p.any():
        return logits.argmax(dim=-1)
    depths = (logits.amax(-1, keepdim=True) - logits) * sharpness
    shares = (-depths.double()).exp()
    if bool((top_p < 1).any()):
        # Tokens of less than (1 - top_p) / V each do not reach 1 - top_p together, so the others reach top_p: only
        # those need an order.
        whole = shares.sum(dim=-1, keepdim=True)
        candidates = (shares >= (1 - top_p) / shares.shape[1] * whole) & (top_p < 1)
        most = max(1, int(candidates.sum(dim=-1).max()))
        ordered = depths.topk(most, largest=False).values
        reached = (-ordered.double()).exp().cumsum(dim=-1)
        last = ordered.gather(1, (reached < top_p * whole).sum(dim=-1, keepdim=True).clamp_(max=most - 1))
        shares = shares.masked_fill((depths > last) & (top_p < 1), 0.0)
    reached = shares.cumsum(dim=-1)
    picked = torch.searchsorted(reached, uniform[:, None] * reached[:, -1:], right=True).squeeze(1)
    return picked.clamp_(max=logits.shape[1] - 1)  # of logits that are not numbers
