"""RoPE and SwiGLU on a GPU, with the gradients that the compiler would make in more passes over memory."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

if torch.cuda.is_available():
    from albor.models import kernels  # noqa: F401 - registers the operators


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


def feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
    """down · (silu(gate · x) ⊙ up · x) of x [..., H], gate_up [2I, H] and down [H, I], all of one dtype."""
    out: Tensor = _FeedForward.apply(x.flatten(0, -2), gate_up, down)
    return out.view(x.shape)


class _FeedForward(torch.autograd.Function):
    """Keeps what the matrices make of x and computes the activation again for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor) -> Tensor:
        projected = F.linear(x, gate_up)
        ctx.save_for_backward(x, gate_up, down, projected)
        gate, up = projected.chunk(2, dim=-1)
        return F.linear(F.silu(gate) * up, down)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        x, gate_up, down, projected = ctx.saved_tensors
        dy = outputs[0]
        by_projected, h = torch.ops.albor.swiglu_backward(projected, dy @ down)
        return by_projected @ gate_up, by_projected.T @ x, dy.T @ h
