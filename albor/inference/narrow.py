"""Matrix products of one or two rows, on a GPU. Importing this needs Triton.

They take as long as reading the weights does, so the weights' way to the registers begins before the kernel before has
ended, where the device can do that (programmatic dependent launch, compute capability 9.0), and norms, gates and
residuals are computed on the way.
"""

# gpu: the whole file
# Triton's language is not typed.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,misc"
from __future__ import annotations

from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_INPUTS = 16384
"""Widest rows, all of which a program holds."""
HELD = 8192
"""Weights that a program holds of each matrix, as far as a row of them allows."""


@cache
def early(device: torch.device) -> bool:
    """Whether a kernel may begin before the one before it has ended."""
    return torch.version.hip is None and torch.cuda.get_device_capability(device) >= (9, 0)


@triton.jit
def _product_kernel(x, norm, weight, residual, out, eps, inputs, outputs, ROWS: tl.constexpr, BLOCK: tl.constexpr,
                    WIDTH: tl.constexpr, NORMED: tl.constexpr, GATED: tl.constexpr, ADDED: tl.constexpr,
                    EARLY: tl.constexpr):  # fmt: skip
    kept = weight.dtype.element_ty
    place = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, WIDTH)
    inside = (place < outputs)[:, None] & (k < inputs)[None, :]
    at = weight + place[:, None].to(tl.int64) * inputs + k[None, :]
    w = tl.load(at, mask=inside, other=0.0)
    if GATED:
        up = tl.load(at + outputs.to(tl.int64) * inputs, mask=inside, other=0.0)
    if NORMED:
        scale = tl.load(norm + k, mask=k < inputs, other=0.0).to(tl.float32)
    if EARLY:
        tl.extra.cuda.gdc_launch_dependents()
        tl.extra.cuda.gdc_wait()  # what comes from others is read after this
    for row in tl.static_range(ROWS):
        row_x = tl.load(x + row * inputs + k, mask=k < inputs, other=0.0).to(tl.float32)
        if NORMED:
            row_x *= tl.rsqrt(tl.sum(row_x * row_x) / inputs + eps)
            row_x = (row_x.to(kept).to(tl.float32) * scale).to(kept).to(tl.float32)
        y = tl.sum(w.to(tl.float32) * row_x[None, :], axis=1)
        if GATED:
            gate = y.to(kept).to(tl.float32)
            y = (gate * tl.sigmoid(gate)).to(kept).to(tl.float32)
            y *= tl.sum(up.to(tl.float32) * row_x[None, :], axis=1).to(kept).to(tl.float32)
        here = row * outputs + place
        if ADDED:
            y = y.to(kept).to(tl.float32) + tl.load(residual + here, mask=place < outputs, other=0.0).to(tl.float32)
        tl.store(out + here, y.to(out.dtype.element_ty), mask=place < outputs)


def product(
    x: Tensor,
    weight: Tensor,
    *,
    norm: Tensor | None = None,
    eps: float = 0.0,
    gated: bool = False,
    residual: Tensor | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """x weightᵀ [B, N] of rows [B, K] and weights [N, K], rounded where the decoder rounds.

    The rows are normed first (``norm``, ``eps``: ``decoder.RMSNorm``). ``gated``: the weights are [2N, K], and it is
    silu(x gateᵀ) ⊙ x upᵀ. A ``residual`` [B, N] is added at last. In ``dtype``, or that of x.
    """
    rows, inputs = x.shape
    outputs = weight.shape[0] // (2 if gated else 1)
    out = torch.empty(rows, outputs, dtype=dtype or x.dtype, device=x.device)
    width = triton.next_power_of_2(inputs)
    block = max(1, min(HELD // width, 4) // (2 if gated else 1))
    soon = x.is_cuda and early(x.device)
    _product_kernel[(triton.cdiv(outputs, block),)](
        x, x if norm is None else norm, weight, x if residual is None else residual, out, eps, inputs, outputs,
        ROWS=rows, BLOCK=block, WIDTH=width, NORMED=norm is not None, GATED=gated, ADDED=residual is not None,
        EARLY=soon, num_warps=8 if width >= 4096 else 4, **({"launch_pdl": True} if soon else {}),
    )  # fmt: skip
    return out
