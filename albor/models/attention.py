"""Attention, and the mask that keeps the documents of a row apart.

Shapes: B rows, T tokens, K key and value heads, D head width, S positions of keys.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

Mask = Tensor | BlockMask | None
"""Which keys a query sees: boolean, broadcast to [B, heads, T, S]; a block mask (CUDA); None for all before it."""


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Mask) -> Tensor:
    """Grouped-query attention of q [B, heads, T, D] over k and v [B, K, S, D]; causal when there is no mask."""
    if isinstance(mask, BlockMask):
        out: Any = flex_attention(q, k, v, block_mask=mask, enable_gqa=True)
        return out  # type: ignore[no-any-return]
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None, enable_gqa=True)


def documents(tokens: Tensor, eos: int) -> Mask:
    """The mask by which a token of ``tokens`` [B, T] sees its own document's earlier tokens only.

    A document ends with ``eos``. On CUDA it is a block mask, so that what is hidden is not computed either; that needs
    a compiled ``attend``.
    """
    ends = tokens == eos
    owner = ends.cumsum(1) - ends.long()
    if not tokens.is_cuda:
        causal = torch.ones(tokens.shape[1], tokens.shape[1], dtype=torch.bool, device=tokens.device).tril()
        return ((owner[:, :, None] == owner[:, None, :]) & causal).unsqueeze(1)

    def visible(b: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:  # gpu
        return (query >= key) & (owner[b, query] == owner[b, key])

    rows, length = tokens.shape  # gpu
    return create_block_mask(visible, rows, None, length, length, device=tokens.device, _compile=True)  # gpu
