"""Attention against its formula: C-KERNEL-011."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from albor.models.attention import attend

CASES = 10_000


def by_hand(q: Tensor, k: Tensor, v: Tensor, visible: Tensor) -> Tensor:
    """softmax(q·kᵀ/√d)·v of each head, as many keys and values as queries [B, heads, T, D]."""
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ v


@pytest.mark.contract("C-KERNEL-011", level=3)
@pytest.mark.parametrize(("heads", "groups"), [(1, 1), (2, 2), (4, 4), (4, 1), (4, 2), (6, 3)])
@pytest.mark.parametrize("masked", [False, True])
def test_groups_share_keys_and_values_and_nothing_else(heads: int, groups: int, masked: bool) -> None:
    """With as many groups as heads, it is multi-head attention."""
    length, width = 5, 4
    generator = torch.Generator().manual_seed(heads * 10 + groups)
    q = torch.randn(CASES, heads, length, width, generator=generator)
    k, v = 2 * torch.randn(2, CASES, groups, length, width, generator=generator)
    visible = torch.ones(length, length, dtype=torch.bool).tril()
    mask = None
    if masked:  # of each case its own; a token always sees itself
        drawn = torch.rand(CASES, 1, length, length, generator=generator) < 0.5
        mask = visible = (drawn | torch.eye(length, dtype=torch.bool)) & visible
    keys, values = (part.repeat_interleave(heads // groups, dim=1) for part in (k, v))
    torch.testing.assert_close(attend(q, k, v, mask), by_hand(q, keys, values, visible), rtol=1e-4, atol=1e-5)
