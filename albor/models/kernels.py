"""Triton kernels for what the compiler does in more passes over memory than needed. Importing this needs Triton.

Registers the operators ``albor::rotate`` and ``albor::rotate_backward`` (RoPE), ``albor::swiglu_backward``, and for fp8
``albor::quantize``, ``albor::swiglu8`` and ``albor::swiglu8_backward``, which scale, round and transpose while the
values are at hand.
"""

# gpu: the whole file
# Triton's language is not typed.
# mypy: disable-error-code="untyped-decorator,no-untyped-def,misc"
from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
LARGEST = {E4M3: 448.0, E5M2: 57344.0}
BLOCK_M, BLOCK_N, WARPS = 64, 128, 8
TOKENS = 64


@triton.jit
def _put(values, out, at, inside, LIMIT: tl.constexpr):
    """Stores values rounded to the type of out, saturating."""
    tl.store(out + at, tl.clamp(values, -LIMIT, LIMIT).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _tile(m, n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """Row and column numbers of this program's tile, [BLOCK_M, 1] and [1, BLOCK_N], and which lie in [m, n].

    A transpose is written from a tile that is read a second time, transposed: the cache has it still, and tl.trans of
    Triton 3.6 garbles tiles on their way to 8-bit stores on Hopper (seen on an H200).
    """
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[:, None]
    columns = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[None, :]
    return rows, columns, (rows < m) & (columns < n)


@triton.jit
def _turned_tile(m, n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    """The same tile, numbers [1, BLOCK_M] and [BLOCK_N, 1]."""
    rows = tl.program_id(0).to(tl.int64) * BLOCK_M + tl.arange(0, BLOCK_M)[None, :]
    columns = tl.program_id(1).to(tl.int64) * BLOCK_N + tl.arange(0, BLOCK_N)[:, None]
    return rows, columns, (rows < m) & (columns < n)


@triton.jit
def _quantize_kernel(x, scale, out, transposed, seen, m, n, LIMIT: tl.constexpr, BLOCK_M: tl.constexpr,
                     BLOCK_N: tl.constexpr):  # fmt: skip
    factor = tl.load(scale)
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    values = tl.load(x + rows * n + columns, mask=inside, other=0.0).to(tl.float32)
    tl.atomic_max(seen, tl.max(tl.abs(values)))
    _put(values * factor, out, rows * n + columns, inside, LIMIT)
    rows, columns, inside = _turned_tile(m, n, BLOCK_M, BLOCK_N)
    values = tl.load(x + rows * n + columns, mask=inside, other=0.0).to(tl.float32)
    _put(values * factor, transposed, columns * m + rows, inside, LIMIT)


@triton.jit
def _gate_up(projected, rows, columns, inside, n):
    """Gate and up values of projected [m, 2n]."""
    at = projected + rows * (2 * n) + columns
    gate = tl.load(at, mask=inside, other=0.0).to(tl.float32)
    up = tl.load(at + n, mask=inside, other=0.0).to(tl.float32)
    return gate, up


@triton.jit
def _swiglu_gradient(gate, up, grad):
    """h = silu(gate)·up, and the gradients by gate and up given that by h."""
    sigmoid = tl.sigmoid(gate)
    silu = gate * sigmoid
    return silu * up, grad * up * (sigmoid + silu * (1 - sigmoid)), grad * silu


@triton.jit
def _swiglu_backward_kernel(projected, dh, out, m, n, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr):
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    gate, up = _gate_up(projected, rows, columns, inside, n)
    grad = tl.load(dh + rows * n + columns, mask=inside, other=0.0).to(tl.float32)
    _, by_gate, by_up = _swiglu_gradient(gate, up, grad)
    wide = out + rows * (2 * n) + columns
    tl.store(wide, by_gate.to(out.dtype.element_ty), mask=inside)
    tl.store(wide + n, by_up.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _rotate_kernel(x, cos, sin, out, by_row, by_token, by_head, length, out_heads, sign, HALF: tl.constexpr,
                   BLOCK_HALF: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Rotates BLOCK tokens of one head: x [B, length, heads, 2·HALF] by its strides, into rows of out_heads heads."""
    row, head = tl.program_id(1).to(tl.int64), tl.program_id(2)
    tokens = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    half = tl.arange(0, BLOCK_HALF)
    inside = (tokens < length)[:, None] & (half < HALF)[None, :]
    source = x + row * by_row + tokens[:, None].to(tl.int64) * by_token + head * by_head + half[None, :]
    low = tl.load(source, mask=inside, other=0.0).to(tl.float32)
    high = tl.load(source + HALF, mask=inside, other=0.0).to(tl.float32)
    angle = tokens[:, None] * HALF + half[None, :]
    c = tl.load(cos + angle, mask=inside, other=0.0).to(tl.float32)
    s = tl.load(sin + angle, mask=inside, other=0.0).to(tl.float32) * sign
    target = out + ((row * length + tokens[:, None]) * out_heads + head) * (2 * HALF) + half[None, :]
    tl.store(target, (low * c - high * s).to(out.dtype.element_ty), mask=inside)
    tl.store(target + HALF, (high * c + low * s).to(out.dtype.element_ty), mask=inside)


@triton.jit
def _swiglu8_kernel(projected, scale, out, seen, m, n, LIMIT: tl.constexpr, BLOCK_M: tl.constexpr,
                   BLOCK_N: tl.constexpr):  # fmt: skip
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    gate, up = _gate_up(projected, rows, columns, inside, n)
    h = gate * tl.sigmoid(gate) * up
    tl.atomic_max(seen, tl.max(tl.abs(h)))
    _put(h * tl.load(scale), out, rows * n + columns, inside, LIMIT)


@triton.jit
def _swiglu8_backward_kernel(projected, dh, scale_h, scale, out, transposed, h_transposed, seen, m, n,
                            LIMIT_H: tl.constexpr, LIMIT: tl.constexpr, BLOCK_M: tl.constexpr,
                            BLOCK_N: tl.constexpr):  # fmt: skip
    factor = tl.load(scale)
    rows, columns, inside = _tile(m, n, BLOCK_M, BLOCK_N)
    gate, up = _gate_up(projected, rows, columns, inside, n)
    grad = tl.load(dh + rows * n + columns, mask=inside, other=0.0).to(tl.float32)
    h, by_gate, by_up = _swiglu_gradient(gate, up, grad)
    tl.atomic_max(seen, tl.maximum(tl.max(tl.abs(by_gate)), tl.max(tl.abs(by_up))))
    # The gradient is [m, 2n]: gate in the first n columns, up in the others.
    _put(by_gate * factor, out, rows * (2 * n) + columns, inside, LIMIT)
    _put(by_up * factor, out, rows * (2 * n) + columns + n, inside, LIMIT)
    rows, columns, inside = _turned_tile(m, n, BLOCK_M, BLOCK_N)
    gate, up = _gate_up(projected, rows, columns, inside, n)
    grad = tl.load(dh + rows * n + columns, mask=inside, other=0.0).to(tl.float32)
    h, by_gate, by_up = _swiglu_gradient(gate, up, grad)
    _put(by_gate * factor, transposed, columns * m + rows, inside, LIMIT)
    _put(by_up * factor, transposed, (columns + n) * m + rows, inside, LIMIT)
    _put(h * tl.load(scale_h), h_transposed, columns * m + rows, inside, LIMIT_H)


def _grid(m: int, n: int) -> tuple[int, int]:
    return triton.cdiv(m, BLOCK_M), triton.cdiv(n, BLOCK_N)


BLOCKS = {"BLOCK_M": BLOCK_M, "BLOCK_N": BLOCK_N, "num_warps": WARPS}


@torch.library.custom_op("albor::rotate", mutates_args=())
def rotate(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    """The pairs (i, i + D/2) of x [B, T, heads, D] turned by sign times the angles [T, 1, D/2]."""
    out = x.new_empty(x.shape)
    _rotate_into(out, x, cos, sin, sign)
    return out


@rotate.register_fake
def _(x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> Tensor:
    return x.new_empty(x.shape)


@torch.library.custom_op("albor::rotate_backward", mutates_args=())
def rotate_backward(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """q and k turned back, and v, as the heads of one tensor: [B, T, heads of q + k + v, D]."""
    rows, length, heads, width = q.shape
    kv_heads = k.shape[2]
    out = q.new_empty(rows, length, heads + 2 * kv_heads, width)
    _rotate_into(out, q, cos, sin, -1)
    _rotate_into(out[:, :, heads:], k, cos, sin, -1)
    out[:, :, heads + kv_heads :] = v
    return out


@rotate_backward.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    rows, length, heads, width = q.shape
    return q.new_empty(rows, length, heads + 2 * k.shape[2], width)


def _rotate_into(out: Tensor, x: Tensor, cos: Tensor, sin: Tensor, sign: int) -> None:
    """Fills the first heads of out, whose rows are contiguous."""
    if x.stride(-1) != 1:  # a sum's gradient is one number for all
        x = x.contiguous()
    rows, length, heads, width = x.shape
    grid = (triton.cdiv(length, TOKENS), rows, heads)
    blocks = {"HALF": width // 2, "BLOCK_HALF": triton.next_power_of_2(width // 2), "BLOCK": TOKENS}
    _rotate_kernel[grid](x, cos, sin, out, *x.stride()[:3], length, out.stride(1) // width, sign, **blocks)


@torch.library.custom_op("albor::swiglu_backward", mutates_args=())
def swiglu_backward(projected: Tensor, dh: Tensor) -> Tensor:
    """The gradient by projected [M, 2I] given that by h [M, I]."""
    m, n = dh.shape
    out = torch.empty_like(projected)
    _swiglu_backward_kernel[triton.cdiv(m, 32), triton.cdiv(n, 128)](
        projected, dh, out, m, n, BLOCK_M=32, BLOCK_N=128, num_warps=8
    )
    return out


@swiglu_backward.register_fake
def _(projected: Tensor, dh: Tensor) -> Tensor:
    return torch.empty_like(projected)


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


@torch.library.custom_op("albor::swiglu8", mutates_args=())
def swiglu8(projected: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    m, n = projected.shape[0], projected.shape[1] // 2
    out, seen = projected.new_empty(m, n, dtype=E4M3), _zero(projected)
    _swiglu8_kernel[_grid(m, n)](projected, scale, out, seen, m, n, LARGEST[E4M3], **BLOCKS)
    return out, seen


@swiglu8.register_fake
def _(projected: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    m, n = projected.shape[0], projected.shape[1] // 2
    return projected.new_empty(m, n, dtype=E4M3), _empty(projected)


@torch.library.custom_op("albor::swiglu8_backward", mutates_args=())
def swiglu8_backward(
    projected: Tensor, dh: Tensor, scale_h: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    m, n = dh.shape
    out, transposed = dh.new_empty(m, 2 * n, dtype=E5M2), dh.new_empty(2 * n, m, dtype=E5M2)
    h_transposed, seen = dh.new_empty(n, m, dtype=E4M3), _zero(dh)
    _swiglu8_backward_kernel[_grid(m, n)](
        projected, dh, scale_h, scale, out, transposed, h_transposed, seen, m, n, LARGEST[E4M3], LARGEST[E5M2], **BLOCKS
    )
    return out, transposed, h_transposed, seen


@swiglu8_backward.register_fake
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
