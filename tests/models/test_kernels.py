"""Triton's operators against float64, over shapes that no tile fits."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.models.triton_device import DEVICE, NEEDS_FP8, NEEDS_KERNELS, rounding_as_on_a_device

pytestmark = NEEDS_KERNELS

E4M3, E5M2 = torch.float8_e4m3fn, torch.float8_e5m2
HALF_STEP = {E4M3: (2.0**-4, 2.0**-10), E5M2: (2.0**-3, 2.0**-17), torch.bfloat16: (2.0**-8, 2.0**-30),
             torch.float32: (1e-6, 1e-6)}  # fmt: skip
"""The largest error of rounding: relative, and absolute of the smallest numbers. float32: of the arithmetic."""
DTYPES = [torch.float32, torch.bfloat16]
MATRICES = [(1, 1), (3, 200), (64, 128), (65, 129), (130, 17), (200, 260)]
HEADS = [(1, 1, 1, 2), (2, 5, 3, 8), (1, 64, 2, 16), (2, 65, 1, 24), (1, 130, 2, 64)]


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    from albor.models import kernels  # noqa: F401 - registers the operators

    torch.manual_seed(0)
    with rounding_as_on_a_device():
        yield


def random(*shape: int, dtype: torch.dtype = torch.float32, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape)).to(DEVICE, dtype)


def assert_rounded(found: Tensor, exact: Tensor) -> None:
    """Whether found is exact (float64) rounded to the type of found, where it saturates if that is of 8 bits."""
    relative, absolute = HALF_STEP[found.dtype]
    if found.element_size() == 1:
        largest = torch.finfo(found.dtype).max
        exact = exact.clamp(-largest, largest)
    torch.testing.assert_close(found.float().double(), exact, rtol=1.001 * relative + 1e-6, atol=1.001 * absolute)


def assert_same(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found.float(), expected.float(), rtol=0, atol=0)


# --- rotation ---


def angles(length: int, width: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    turned = random(length, 1, width // 2, scale=3.0)
    return turned.cos().to(dtype), turned.sin().to(dtype)


def turn(x: Tensor, cos: Tensor, sin: Tensor, sign: int = 1) -> Tensor:
    low, high = x.double().chunk(2, -1)
    c, s = cos.double(), sign * sin.double()
    return torch.cat((low * c - high * s, high * c + low * s), -1)


def strided(kind: str, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Heads as they come: alone, as a part of all projections, as attention's output."""
    rows, length, heads, width = shape
    if kind == "a part":
        return random(rows, length, heads + 3, width, dtype=dtype)[:, :, 1 : heads + 1]
    if kind == "transposed":
        return random(rows, heads, length, width, dtype=dtype).transpose(1, 2)
    return random(*shape, dtype=dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("kind", ["whole", "a part", "transposed"])
@pytest.mark.parametrize("sign", [1, -1])
def test_rotate(dtype, shape, kind, sign) -> None:
    x, (cos, sin) = strided(kind, shape, dtype), angles(shape[1], shape[3], dtype)
    found = torch.ops.albor.rotate(x, cos, sin, sign)
    assert found.is_contiguous() and found.dtype == dtype
    assert_rounded(found, turn(x, cos, sin, sign))


def test_rotate_takes_a_gradient_that_is_one_number() -> None:
    """Such as a sum's: all strides are 0."""
    cos, sin = angles(5, 8, torch.float32)
    ones = torch.ones((), device=DEVICE).expand(2, 5, 3, 8)
    assert_rounded(torch.ops.albor.rotate(ones, cos, sin, -1), turn(ones, cos, sin, -1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", HEADS)
@pytest.mark.parametrize("kind", ["whole", "transposed"])
@pytest.mark.parametrize("group", [1, 3])
def test_rotate_backward(dtype, shape, kind, group) -> None:
    rows, length, heads, width = shape
    q = strided(kind, (rows, length, group * heads, width), dtype)
    k, v = (strided(kind, shape, dtype) for _ in range(2))
    cos, sin = angles(length, width, dtype)
    found = torch.ops.albor.rotate_backward(q, k, v, cos, sin)
    assert found.is_contiguous()
    by_q, by_k, by_v = found.split((group * heads, heads, heads), dim=2)
    assert_rounded(by_q, turn(q, cos, sin, -1))
    assert_rounded(by_k, turn(k, cos, sin, -1))
    assert_same(by_v, v)


# --- SwiGLU ---


def swiglu(projected: Tensor) -> Tensor:
    gate, up = projected.chunk(2, dim=-1)
    return F.silu(gate) * up


def swiglu_gradient(projected: Tensor, dh: Tensor) -> Tensor:
    wide = projected.double().requires_grad_()
    (gradient,) = torch.autograd.grad(swiglu(wide), wide, dh.double())
    return gradient


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
@pytest.mark.parametrize("scale", [1.0, 50.0])  # of 50, e to the power of which is no float32
def test_swiglu_backward(dtype, shape, scale) -> None:
    m, n = shape
    projected, dh = random(m, 2 * n, dtype=dtype, scale=scale), random(m, n, dtype=dtype)
    found, exact = torch.ops.albor.swiglu_backward(projected, dh), swiglu_gradient(projected, dh)
    relative = {torch.float32: 1e-5, torch.bfloat16: 2.0**-8}[dtype]
    torch.testing.assert_close(found.double(), exact, rtol=1.001 * relative + 1e-5, atol=1e-6 * scale)


# --- fp8 ---


@NEEDS_FP8
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("to", [E4M3, E5M2])
@pytest.mark.parametrize("shape", MATRICES, ids=str)
@pytest.mark.parametrize("factor", [1e-3, 1.0, 37.0, 1e6])  # the smallest numbers, ordinary ones, all saturate
def test_quantize(dtype, to, shape, factor) -> None:
    x, scale = random(*shape, dtype=dtype), torch.tensor(factor, device=DEVICE)
    found, transposed, seen = torch.ops.albor.quantize(x, scale, to)
    largest = torch.finfo(to).max
    assert_same(found, (x.float() * scale).clamp(-largest, largest).to(to))
    assert_same(transposed, found.T)
    assert found.is_contiguous() and transposed.is_contiguous() and found.dtype == transposed.dtype == to
    assert seen.dtype == torch.float32 and seen.tolist() == [x.abs().max().item()]


@NEEDS_FP8
@pytest.mark.parametrize("place", [(0, 0), (64, 128), (99, 199)])
def test_the_largest_is_seen_wherever_it_lies(place) -> None:
    x = random(100, 200)
    x[place] = -1234.0
    assert torch.ops.albor.quantize(x, torch.ones(1, device=DEVICE)[0], E5M2)[2].item() == 1234.0
    x[place] = math.inf
    found, _, seen = torch.ops.albor.quantize(x, torch.ones(1, device=DEVICE)[0], E5M2)
    assert seen.item() == math.inf and found[place].float().item() == torch.finfo(E5M2).max


@NEEDS_FP8
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
@pytest.mark.parametrize("factor", [0.5, 40.0, 1e5])
def test_swiglu8(dtype, shape, factor) -> None:
    m, n = shape
    projected, scale = random(m, 2 * n, dtype=dtype, scale=3.0), torch.tensor(factor, device=DEVICE)
    found, seen = torch.ops.albor.swiglu8(projected, scale)
    exact = swiglu(projected.double())
    assert found.dtype == E4M3
    assert_rounded(found, exact * scale.double())
    torch.testing.assert_close(seen.double(), exact.abs().max()[None], rtol=1e-5, atol=0)


@NEEDS_FP8
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", MATRICES, ids=str)
@pytest.mark.parametrize("factor", [0.5, 4e3])
def test_swiglu8_backward(dtype, shape, factor) -> None:
    m, n = shape
    projected, dh = random(m, 2 * n, dtype=dtype, scale=3.0), random(m, n, dtype=dtype)
    scale_h, scale = torch.tensor([40.0, factor], device=DEVICE)
    found, transposed, h_transposed, seen = torch.ops.albor.swiglu8_backward(projected, dh, scale_h, scale)
    exact = swiglu_gradient(projected, dh)
    assert found.dtype == transposed.dtype == E5M2
    assert_rounded(found, exact * scale.double())
    assert_same(transposed, found.T)
    assert_same(h_transposed, torch.ops.albor.swiglu8(projected, scale_h)[0].T)
    torch.testing.assert_close(seen.double(), exact.abs().max()[None], rtol=1e-5, atol=0)


# --- what the compiler is told of them ---


@NEEDS_FP8
def test_shapes_and_strides_are_those_that_the_compiler_expects() -> None:
    one, cos, sin = torch.ones((), device=DEVICE), *angles(5, 8, torch.bfloat16)
    q, k = random(2, 5, 6, 8, dtype=torch.bfloat16), random(2, 5, 2, 8, dtype=torch.bfloat16)
    projected, dh = random(32, 96, dtype=torch.bfloat16), random(32, 48, dtype=torch.bfloat16)
    for name, arguments in {
        "rotate": (q, cos, sin, 1),
        "rotate_backward": (q, k, k, cos, sin),
        "swiglu_backward": (projected, dh),
        "quantize": (projected, one, E4M3),
        "swiglu8": (projected, one),
        "swiglu8_backward": (projected, dh, one, one),
    }.items():
        operator = getattr(torch.ops.albor, name).default
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))
