"""Feed-forward layers in fp8: e4m3 for activations and weights, e5m2 for gradients, float32 masters.

Every tensor has one scale. A weight's comes from the weight itself. Those of activations and gradients come from the
largest magnitudes of the steps before (delayed scaling: Micikevicius et al., "FP8 Formats for Deep Learning", 2022), so
that a tensor is scaled, rounded and transposed in the pass that makes it. Attention, head and embeddings stay in bf16.

Shapes: M tokens, H hidden, I feed-forward width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = {E4M3: 448.0, E5M2: 57344.0}
KINDS = 4
"""Scaled tensors of a layer: its input, the activation between its matrices, and the gradients of its output and of the
gate and up projections."""
STEPS = 16
"""Steps whose largest magnitudes count."""
HEADROOM = 2.0
"""How much larger than those a value may become before it saturates."""


class Scales:
    """The scales of every layer, and the magnitudes that they come from."""

    def __init__(self, layers: int, device: torch.device, tokens: int) -> None:
        """``tokens`` of a step: the loss is a mean over them, so a token's gradient is about 1/tokens at first."""
        self._largest = torch.tensor([LARGEST[E4M3]] * 2 + [LARGEST[E5M2]] * 2, device=device)
        first = torch.tensor([32.0, 16.0, 1 / tokens, 1 / tokens], device=device)
        self.history = first.repeat(STEPS, layers, 1)
        self.seen = torch.zeros(layers, KINDS, device=device)
        self.probe = torch.zeros(layers, KINDS, device=device, requires_grad=True)
        """Its "gradient" is the magnitudes met in a backward pass: what a graph hands out without side effects."""
        self.scale = self._scale()

    def _scale(self) -> Tensor:
        return self._largest / (HEADROOM * self.history.amax(0).clamp(min=1e-30))

    def of(self, layer: int) -> tuple[Tensor, Tensor]:
        return self.scale[layer], self.probe[layer]

    def observe(self) -> None:
        """After each backward pass: takes in the magnitudes met."""
        assert self.probe.grad is not None
        self.seen = torch.maximum(self.seen, self.probe.grad)
        self.probe.grad = None

    def advance(self) -> None:
        """After each optimizer step: the scales of the next one. A step that was not finite teaches nothing."""
        seen = torch.where(self.seen.isfinite() & (self.seen > 0), self.seen, self.history[0])
        self.history = torch.cat((seen[None], self.history[:-1]))
        self.seen = torch.zeros_like(self.seen)
        self.scale = self._scale()

    def calibrate(self) -> None:
        """Takes what was seen as the whole history: the scales of a model that has no steps behind it."""
        self.advance()
        self.history = self.history[:1].repeat(STEPS, 1, 1)
        self.scale = self._scale()

    def state(self) -> list[Any]:
        """The history as nested lists of floats."""
        values: list[Any] = self.history.tolist()
        return values

    def load(self, state: Sequence[Any]) -> None:
        self.history = torch.tensor(state, device=self.history.device)
        self.scale = self._scale()


def feed_forward(x: Tensor, gate: Tensor, up: Tensor, down: Tensor, scale: Tensor, probe: Tensor) -> Tensor:  # gpu
    """down · (silu(gate · x) ⊙ up · x) for x [..., H] in bf16; gate and up [I, H], down [H, I] in float32.

    ``scale`` and ``probe`` [KINDS] are the layer's, from ``Scales.of``.
    """
    out: Tensor = _FeedForward.apply(x.flatten(0, -2), torch.cat((gate, up)), down, scale, probe)
    return out.view(x.shape)


class _FeedForward(torch.autograd.Function):  # gpu
    """Tensor cores read both fp8 operands along the summed dimension, so what enters two products is kept both ways."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, gate_up: Tensor, down: Tensor, scale: Tensor, probe: Tensor) -> Tensor:
        x8, x8_t, seen_x = _quantize(x, scale[0], E4M3)
        (gate_up8, gate_up8_t, by_gate_up), (down8, down8_t, by_down) = _weight(gate_up), _weight(down)
        projected = _matmul(x8, gate_up8.t(), scale[0], by_gate_up)
        h8, seen_h = _swiglu(projected, scale[1])
        ctx.save_for_backward(
            projected, x8_t, gate_up8_t, down8_t, by_gate_up, by_down, scale, torch.cat((seen_x, seen_h))
        )
        return _matmul(h8, down8.t(), scale[1], by_down)

    @staticmethod
    def backward(ctx: Any, *outputs: Tensor) -> tuple[Tensor, Tensor, Tensor, None, Tensor]:
        projected, x8_t, gate_up8_t, down8_t, by_gate_up, by_down, scale, seen = ctx.saved_tensors
        dy8, dy8_t, seen_dy = _quantize(outputs[0].contiguous(), scale[2], E5M2)
        dh = _matmul(dy8, down8_t.t(), scale[2], by_down)
        dp8, dp8_t, h8_t, seen_dp = _swiglu_backward(projected, dh, scale[1], scale[3])
        return (
            _matmul(dp8, gate_up8_t.t(), scale[3], by_gate_up),
            _matmul(dp8_t, x8_t.t(), scale[3], scale[0], torch.float32),
            _matmul(dy8_t, h8_t.t(), scale[2], scale[1], torch.float32),
            None,
            torch.cat((seen, seen_dy, seen_dp)),
        )


def _matmul(a: Tensor, b: Tensor, scale_a: Tensor, scale_b: Tensor, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    return torch._scaled_mm(a, b, 1 / scale_a, 1 / scale_b, out_dtype=dtype, use_fast_accum=True)  # gpu


def _weight(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # gpu
    """A weight in fp8, its transpose, and its scale."""
    scale = LARGEST[E4M3] / weight.abs().amax().clamp(min=1e-30)
    weight8, weight8_t, _ = _quantize(weight, scale, E4M3)
    return weight8, weight8_t, scale


def _quantize(x: Tensor, scale: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:  # gpu
    """x [M, N] times scale in ``dtype``, saturating; its transpose [N, M]; and the largest magnitude of x [1]."""
    out: tuple[Tensor, Tensor, Tensor] = torch.ops.albor.quantize(x, scale, dtype)
    return out


def _swiglu(projected: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:  # gpu
    """h = silu(gate) ⊙ up of ``projected`` [M, 2I], in e4m3 [M, I]; and the largest magnitude of h."""
    out: tuple[Tensor, Tensor] = torch.ops.albor.swiglu8(projected, scale)
    return out


def _swiglu_backward(
    projected: Tensor, dh: Tensor, scale_h: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:  # gpu
    """The gradient by ``projected`` in e5m2 [M, 2I], its transpose, hᵀ in e4m3 [I, M] as ``_swiglu`` made it; and the
    gradient's largest magnitude."""
    out: tuple[Tensor, Tensor, Tensor, Tensor] = torch.ops.albor.swiglu8_backward(projected, dh, scale_h, scale)
    return out
