"""From logits to the next token, each request with random numbers of its own."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from albor.inference.engine import Sampling

if torch.cuda.is_available():  # gpu
    from albor.inference import kernels


def draws(seed: int, count: int) -> np.ndarray:
    """A request's uniform numbers [count] in [0, 1), float32; the first ones do not depend on ``count``."""
    return np.random.Generator(np.random.Philox(key=seed)).random(count, dtype=np.float32)


def knobs(sampling: Sampling, device: torch.device) -> Tensor:
    """1 / temperature and top_p [2], float32: where the kernels read them. A temperature of 0 has no use for them."""
    return torch.tensor([1 / (sampling.temperature or 1.0), sampling.top_p], device=device)


def choose(logits: Tensor, uniform: Tensor, knobs: Tensor) -> Tensor:
    """The next token [B] from logits [B, V], one uniform number per row [B] and ``knobs``, all float32.

    After the temperature, the fewest likeliest tokens whose probabilities reach top_p stay (Holtzman et al., 2020), and
    with the last of them all that are exactly as likely; the draw inverts their distribution function, in the order
    of token ids.
    """
    if logits.is_cuda:  # gpu
        return kernels.choose(logits, uniform, knobs)
    logits, uniform = logits.cpu(), uniform.cpu()  # not every device has float64
    sharpness, top_p = knobs.tolist()
    depths = (logits.amax(-1, keepdim=True) - logits) * sharpness
    shares = (-depths.double()).exp()
    if top_p < 1:
        # Tokens of less than (1 - top_p) / V each do not reach 1 - top_p together, so the others reach top_p: only
        # those need an order.
        whole = shares.sum(dim=-1, keepdim=True)
        most = max(1, int((shares >= (1 - top_p) / shares.shape[1] * whole).sum(dim=-1).max()))
        ordered = depths.topk(most, largest=False).values
        reached = (-ordered.double()).exp().cumsum(dim=-1)
        last = (reached < top_p * whole).sum(dim=-1, keepdim=True).clamp_(max=most - 1)
        shares = shares.masked_fill(depths > ordered.gather(1, last), 0.0)
    reached = shares.cumsum(dim=-1)
    picked = torch.searchsorted(reached, uniform[:, None] * reached[:, -1:], right=True).squeeze(1)
    return picked.clamp_(max=logits.shape[1] - 1)  # of logits that are not numbers
