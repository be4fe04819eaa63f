"""A row of the embedding for the token that ends an answer, in a model that has never seen one.

Pretraining pushes the rows of all tokens that it never shows in one direction, away from every hidden state: at the end
of a small run they have cosines of 0.97 to 0.99 to each other, and ``<|im_end|>`` costs 14 nats where an answer ends.
Adapters leave the tied embedding as it is, so they could hardly learn to tell that token from the reserved ones.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from albor.data.chat_ids import ChatIds
from albor.models.checkpoint import EMBEDDING

PARALLEL = 0.9
"""Cosine of the rows of ``<|im_start|>`` and ``<|im_end|>`` above which neither was ever learnt."""


def with_learnable_end(weights: Mapping[str, Tensor], chat: ChatIds, eos_id: int, *, seed: int) -> dict[str, Tensor]:
    """``weights`` (a state dict) to start finetuning from, in which ``<|im_end|>`` has a row that can be learnt to use.

    Half the end of text's row, which is what it means, and half one drawn like the others: (e + n) / √2. Rows that a
    training has told apart stay as they are, and so do all other tensors. The same for the same weights and seed.
    """
    table = weights[EMBEDDING]
    if F.cosine_similarity(table[chat.start], table[chat.end], dim=0) <= PARALLEL:
        return dict(weights)
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randn(table.shape[1], generator=generator).to(table) * table.std(dim=0)
    table = table.clone()
    table[chat.end] = (table[eos_id] + drawn) / 2**0.5
    return {**weights, EMBEDDING: table}
