"""From logits to the next token, each row with random numbers of its own."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence

import torch
from torch import Tensor

from albor.inference.engine import Sampling


def draws(prompts: Sequence[Sequence[int]], sampling: Sampling) -> Tensor:
    """Uniform numbers [prompts, max_new_tokens] in [0, 1), float64.

    A row's numbers follow from the seed, the prompt, and how many equal prompts came before it.
    """
    seen: Counter[tuple[int, ...]] = Counter()
    rows = []
    for prompt in prompts:
        key = (sampling.seed, seen[tuple(prompt)], *prompt)
        seen[tuple(prompt)] += 1
        digest = hashlib.sha256(",".join(map(str, key)).encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
        rows.append(torch.rand(sampling.max_new_tokens, dtype=torch.float64, generator=generator))
    return torch.stack(rows)


def choose(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """The next token [B] from logits [B, V] and one uniform number per row [B]."""
    if sampling.temperature == 0:
        return logits.argmax(dim=-1)
    probabilities = (logits.double() / sampling.temperature).softmax(dim=-1)
    ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
    reached = ordered.cumsum(dim=-1)
    # A token stays while those before it have not reached top_p, so the likeliest always stays.
    ordered = ordered.masked_fill(reached - ordered >= sampling.top_p, 0.0)
    reached = ordered.cumsum(dim=-1)
    picked = torch.searchsorted(reached, uniform[:, None] * reached[:, -1:], right=True)
    last = (ordered > 0).sum(dim=-1, keepdim=True) - 1
    return tokens.gather(1, picked.minimum(last)).squeeze(1)
