"""Triton kernels of ``fp8``: scale, round and transpose while the values are at hand.

Importing this registers the operators ``albor::quantize``, ``swiglu`` and ``swiglu_backward``; it needs Triton (CUDA).
"""

# Triton's language is not typed.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,misc"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = {E4M3: 448.0, E5M2: 57344.0}
BLOCK_M, BLOCK_N, WARPS = 128, 64, 8


@triton.jit
def _put(values, out, transposed, rows, columns, inside, m, n, LIMIT: tl.constexpr):
    """Stores values [BLOCK_M, BLOCK_N] at (rows, columns) of out [m, n] and of its transpose, rounded to their type."""
    rounded = tl.clamp(values, -LIMIT, LIMIT).to(out.dtype.element_ty)
    tl.store(out + rows[:, None] * n + columns[None, :], rounded, mask=inside)
    tl.store(transposed + columns[:, None] * m + rows[None, :], tl.trans(rounded), mask=tl.trans(inside))


@triton.jit
def _tile(m, n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)
    columns = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)
    return rows, columns, (rows < m)[:, None] & (columns < n)[None, :]


@triton.jit
def _quantize_kernel(x, scale, out, transposed, seen, m, n, LIMIT: tl.constexpr, BLOCK_M: tl.constexpr,
                     BLOCK_N: tl.constexpr):  # fmt: skip
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    values = tl.load(x + rows[:, None] * n + columns[None, :], mask=inside, other=0.0).to(tl.float32)
    tl.atomic_max(seen, tl.max(tl.abs(values)))
    _put(values * tl.load(scale), out, transposed, rows, columns, inside, m, n, LIMIT)


@triton.jit
def _gate_up(projected, rows, columns, inside, n):
    """Gate and up values of projected [m, 2n]."""
    at = projected + rows[:, None] * (2 * n) + columns[None, :]
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(at + n, mask=inside, other=0.0).to(tl.float32)
    return gate, up


@triton.jit
def _swiglu_kernel(projected, scale, out, seen, m, n, LIMIT: tl.constexpr, BLOCK_M: tl.constexpr,
                   BLOCK_N: tl.constexpr):  # fmt: skip
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    gate, up = _gate_up(projected, rows, columns, inside, n)
    h = gate * tl.sigmoid(gate) * up
    tl.atomic_max(seen, tl.max(tl.abs(h)))
    rounded = tl.clamp(h * tl.load(scale), -LIMIT, LIMIT).to(out.dtype.element_ty)
    tl.store(out + rows[:, None] * n + columns[None, :], rounded, mask=inside)


@triton.jit
def _swiglu_backward_kernel(projected, dh, scale_h, scale, out, transposed, h_transposed, seen, m, n,
                            LIMIT_H: tl.constexpr, LIMIT: tl.constexpr, BLOCK_M: tl.constexpr,
                            BLOCK_N: tl.constexpr):  # fmt: skip
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    gate, up = _gate_up(projected, rows, columns, inside, n)
    grad = tl.load(dh + rows[:, None] * n + columns[None, :], mask=inside, other=0.0).to(tl.float32)
    sigmoid = tl.sigmoid(gate)
    silu = gate * sigmoid
    h = tl.clamp(silu * up * tl.load(scale_h), -LIMIT_H, LIMIT_H).to(h_transposed.dtype.element_ty)
    tl.store(h_transposed + columns[:, None] * m + rows[None, :], tl.trans(h), mask=tl.trans(inside))
    by_up = grad * silu
    by_gate = grad * up * (sigmoid + silu * (1 - sigmoid))
    tl.atomic_max(seen, tl.maximum(tl.max(tl.abs(by_gate)), tl.max(tl.abs(by_up))))
    factor = tl.load(scale)
    # The gradient is [m, 2n]: gate in the first n columns, up in the others.
    _put(by_gate * factor, out, transposed, rows, columns, inside, m, 2 * n, LIMIT)
    _put(by_up * factor, out, transposed, rows, columns + n, inside, m, 2 * n, LIMIT)


def _grid(m: int, n: int) -> tuple[int, int]:
    return triton.cdiv(m, BLOCK_M), triton.cdiv(n, BLOCK_N)


BLOCKS = {"BLOCK_M": BLOCK_M, "BLOCK_N": BLOCK_N, "num_warps": WARPS}


@torch.library.custom_op("albor::quantize", mutates_args=())
def quantize(x: Tensor, scale: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    m, n = x.shape
    out, transposed, seen = x.new_empty(m, n, dtype=dtype), x.new_empty(n, m, dtype=dtype), _zero(x)
    _quantize_kernel[_grid(m, n)](x, scale, out, transposed, seen, m, n, LARGEST[dtype], **BLOCKS)
    return out, transposed, seen


@quantize.register_fake
def _(x: Tensor, scale: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    m, n = x.shape
    return x.new_empty(m, n, dtype=dtype), x.new_empty(n, m, dtype=dtype), _empty(x)


@torch.library.custom_op("albor::swiglu", mutates_args=())
def swiglu(projected: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    m, n = projected.shape[0], projected.shape[1] // 2
    out, seen = projected.new_empty(m, n, dtype=E4M3), _zero(projected)
    _swiglu_kernel[_grid(m, n)](projected, scale, out, seen, m, n, LARGEST[E4M3], **BLOCKS)
    return out, seen


@swiglu.register_fake
def _(projected: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    m, n = projected.shape[0], projected.shape[1] // 2
    return projected.new_empty(m, n, dtype=E4M3), _empty(projected)


@torch.library.custom_op("albor::swiglu_backward", mutates_args=())
def swiglu_backward(
    projected: Tensor, dh: Tensor, scale_h: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    m, n = dh.shape
    out, transposed = dh.new_empty(m, 2 * n, dtype=E5M2), dh.new_empty(2 * n, m, dtype=E5M2)
    h_transposed, seen = dh.new_empty(n, m, dtype=E4M3), _zero(dh)
    _swiglu_backward_kernel[_grid(m, n)](
        projected, dh, scale_h, scale, out, transposed, h_transposed, seen, m, n, LARGEST[E4M3], LARGEST[E5M2], **BLOCKS
    )
    return out, transposed, h_transposed, seen


@swiglu_backward.register_fake
def _(projected: Tensor, dh: Tensor, scale_h: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    m, n = dh.shape
    return (
        dh.new_empty(m, 2 * n, dtype=E5M2),
        dh.new_empty(2 * n, m, dtype=E5M2),
        dh.new_empty(n, m, dtype=E4M3),
        _empty(dh),
    )


def _zero(like: Tensor) -> Tensor:
    return like.new_zeros(1, dtype=torch.float32)


def _empty(like: Tensor) -> Tensor:
    return like.new_empty(1, dtype=torch.float32)
