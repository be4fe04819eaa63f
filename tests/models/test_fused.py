"""RoPE and SwiGLU with gradients of our own, against autograd in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from albor.models import fused
from albor.models.decoder import rotary
from tests.models.triton_device import DEVICE, NEEDS_KERNELS, rounding_as_on_a_device

pytestmark = NEEDS_KERNELS

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 1.5e-2}
"""Of a result as a whole: the norm of its error over its norm."""


@pytest.fixture(autouse=True)
def kernels() -> Iterator[None]:
    from albor.models import kernels  # noqa: F401 - registers the operators

    torch.manual_seed(0)
    with rounding_as_on_a_device():
        yield


def random(*shape: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
    return (scale * torch.randn(shape)).to(DEVICE, dtype).requires_grad_()


def wide(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same numbers in float64, with gradients of their own."""
    return tuple(tensor.detach().double().requires_grad_() for tensor in tensors)


def error(found: Tensor, exact: Tensor) -> float:
    return float((found.detach().double() - exact.detach()).norm() / exact.detach().norm())


def assert_agree(ours: Any, theirs: Any, arguments: tuple[Tensor, ...], tolerance: float) -> None:
    """Outputs and gradients of two functions of the same numbers, ours in their dtype and theirs in float64."""
    exact_arguments = wide(arguments)
    outputs, exact = ours(*arguments), theirs(*exact_arguments)
    weights = [torch.randn_like(output) for output in exact]
    for output, expected in zip(outputs, exact, strict=True):
        assert output.dtype == arguments[0].dtype and output.shape == expected.shape
        assert error(output, expected) < tolerance
    gradients = torch.autograd.grad(outputs, arguments, [w.to(o.dtype) for w, o in zip(weights, outputs, strict=True)])
    expected_gradients = torch.autograd.grad(exact, exact_arguments, weights)
    for gradient, expected in zip(gradients, expected_gradients, strict=True):
        assert error(gradient, expected) < tolerance


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    low, high = x.chunk(2, -1)
    return torch.cat((low * cos - high * sin, high * cos + low * sin), -1)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 1, 1, 8), (2, 65, 3, 24), (3, 20, 4, 64)])
def test_rotate_turns_its_gradient_back(dtype, shape) -> None:
    cos, sin = rotary(torch.arange(shape[1], device=DEVICE), shape[3], 10_000.0, dtype)
    assert_agree(lambda x: (fused.Rotate.apply(x, cos, sin),), lambda x: (turn(x, cos.double(), sin.double()),),
          (random(*shape, dtype=dtype),), TOLERANCE[dtype])  # fmt: skip


def test_rotate_takes_the_gradient_of_a_sum() -> None:
    cos, sin = rotary(torch.arange(5, device=DEVICE), 8, 10_000.0, torch.float32)
    x = random(2, 5, 3, 8, dtype=torch.float32)
    exact = x.detach().clone().requires_grad_()
    fused.Rotate.apply(x, cos, sin).sum().backward()
    turn(exact, cos, sin).sum().backward()
    torch.testing.assert_close(x.grad, exact.grad)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("rows", "length"), [(1, 1), (2, 65), (3, 20)])
@pytest.mark.parametrize(("heads", "kv_heads", "width"), [(4, 2, 8), (3, 3, 24), (4, 1, 32)])
def test_rotated_heads(dtype, rows, length, heads, kv_heads, width) -> None:
    cos, sin = rotary(torch.arange(length, device=DEVICE), width, 10_000.0, dtype)
    x = random(rows, length, 48, dtype=dtype)
    weight = random((heads + 2 * kv_heads) * width, 48, dtype=dtype, scale=48**-0.5)

    def plain(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        parts = F.linear(x, weight).unflatten(-1, (-1, width)).split((heads, kv_heads, kv_heads), dim=2)
        return *(turn(part, cos.double(), sin.double()) for part in parts[:2]), parts[2]

    assert_agree(lambda x, w: fused.rotated_heads(x, w, cos, sin, width, heads), plain, (x, weight), TOLERANCE[dtype])


def plain_feed_forward(x: Tensor, gate_up: Tensor, down: Tensor) -> tuple[Tensor]:
    gate, up = F.linear(x, gate_up).chunk(2, dim=-1)
    return (F.linear(F.silu(gate) * up, down),)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", [(1, 1), (2, 65), (130,)])
@pytest.mark.parametrize(("hidden", "width"), [(48, 80), (17, 129)])
def test_feed_forward(dtype, shape, hidden, width) -> None:
    x, gate_up = random(*shape, hidden, dtype=dtype), random(2 * width, hidden, dtype=dtype, scale=hidden**-0.5)
    down = random(hidden, width, dtype=dtype, scale=width**-0.5)
    assert_agree(lambda *a: (fused.feed_forward(*a),), plain_feed_forward, (x, gate_up, down), TOLERANCE[dtype])
