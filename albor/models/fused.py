"""RoPE and SwiGLU on a GPU, with the gradients that the compiler would make in more passes over memory."""

# gpu: the whole file

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

if torch.cuda.is_available():
    from albor.models import kernels  # noqa: F401 - registers the operators


Heads = tuple[Tensor, Tensor, Tensor]


class Rotate(torch.autograd.Function):
    """Turns the pairs (i, i + D/2) of x [B, T, heads, D] by angles given as cosines and sines [T, 1, D/2]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        rotated: Tensor = torch.ops.albor.rotate(x, cos, sin, 1)
        return rotated

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, None, None]:
        return torch.ops.albor.rotate(outputs[0], *ctx.saved_tensors, -1), None, None


def rotated_heads(x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, head_dim: int, heads: int) -> Heads:
    """Queries, keys and values [B, T, heads, D] of x [B, T, H], the first two rotated by their position.

    ``weight`` [(heads + 2·kv_heads)·D, H] has the three projections one below the other.
    """
    q, k, v = _RotatedHeads.apply(x, weight, cos, sin, head_dim, heads)
    return q, k, v


class _RotatedHeads(torch.autograd.Function):
    """Its backward pass writes the three gradients where the matrix product reads them, as one tensor."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, cos: Tensor, sin: Tensor, head_dim: int, heads: int) -> Heads:
        ctx.save_for_backward(x, weight, cos, sin)
        parts = F.linear(x, weight).unflatten(-1, (-1, head_dim))
        kv_heads = (parts.shape[2] - heads) // 2
        q, k, v = parts.split((heads, kv_heads, kv_heads), dim=2)
        return torch.ops.albor.rotate(q, cos, sin, 1), torch.ops.albor.rotate(k, cos, sin, 1), v

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, None, None, None, None]:
        x, weight, cos, sin = ctx.saved_tensors
        by_parts = torch.ops.albor.rotate_backward(*outputs, cos, sin).flatten(2)
        by_weight = by_parts.flatten(0, 1).T @ x.flatten(0, 1)
        return by_parts @ weight, by_weight, None, None, None, None


def feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """down · (silu(gate · x) ⊙ up · x) of x [..., H], gate_up [2I, H] and down [H, I], all of one dtype."""
    out: Tensor = _FeedForward.apply(x.flatten(0, -2), gate_up, down)
    return out.view(x.shape)


class _FeedForward(torch.autograd.Function):
    """Keeps the activation too: to compute it again takes the backward pass longer than to read it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        projected = F.linear(x, gate_up)
        gate, up = projected.chunk(2, dim=-1)
        h = F.silu(gate) * up
        ctx.save_for_backward(x, gate_up, down, projected, h)
        return F.linear(h, down)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gate_up, down, projected, h = ctx.saved_tensors
        dy = outputs[0]
        by_projected = torch.ops.albor.swiglu_backward(projected, dy @ down)
        return by_projected @ gate_up, by_projected.T @ x, dy.T @ h
