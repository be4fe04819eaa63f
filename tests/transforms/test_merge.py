"""SLERP: C-KERNEL-007, its ends, and where there is no arc."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from albor.models.errors import ModelError
from albor.transforms.merge import slerp

CASES = 10_000


def pairs() -> list[tuple[Tensor, Tensor, float]]:
    """Unit vectors of 2 to 64 numbers at any angle but the opposite, many of them small, and shares between them."""
    generator = torch.Generator().manual_seed(0)
    made = []
    for case in range(CASES):
        width = 2 + case % 63
        a, other = torch.randn(2, width, generator=generator)
        a = a / a.norm()
        aside = other - (other @ a) * a
        draw = torch.rand(2, generator=generator, dtype=torch.float64).tolist()
        angle = torch.tensor(3.13 * draw[0] if case % 2 else 10 ** (-6 * draw[0]))
        b = angle.cos() * a + angle.sin() * aside / aside.norm()
        made.append((a, b / b.norm(), draw[1]))
    return made


@pytest.mark.contract("C-KERNEL-007", level=3)
def test_slerp_keeps_the_norm() -> None:
    for a, b, t in pairs():
        merged = slerp(a, b, t)
        assert abs(merged.norm().item() - 1) <= 0.01
        # On the way, in proportion: the angle to a is the share t of the whole one.
        whole, part = (torch.acos((a.double() @ c.double()).clamp(-1, 1)).item() for c in (b, merged / merged.norm()))
        assert part == pytest.approx(t * whole, abs=2e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_ends_are_the_inputs_bit_for_bit(dtype: torch.dtype) -> None:
    a, b = torch.randn(2, 5, 7).to(dtype)
    a[0, 0] = -0.0
    for t, expected in ((0, a), (0.0, a), (1, b), (1.0, b)):
        merged = slerp(a, b, t)
        assert torch.equal(merged.view(torch.uint8), expected.view(torch.uint8)) and merged is not expected
    assert slerp(a, b, 0.6).dtype == dtype and slerp(a, b, 0.6).shape == a.shape


def test_right_angles_by_hand() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    torch.testing.assert_close(slerp(a, b, 0.5), (a + b) / 2**0.5)
    torch.testing.assert_close(slerp(a, b, 1 / 3), 3**0.5 / 2 * a + 0.5 * b)


@pytest.mark.parametrize(
    ("a", "b"),
    [((1.0, 2.0), (2.0, 4.0)), ((0.0, 0.0), (3.0, 1.0)), ((3.0, 1.0), (0.0, 0.0)), ((1.0, 2.0), (-1.0, -2.0))],
    ids=["the same direction", "nothing first", "nothing second", "opposite directions"],
)
def test_without_an_arc_it_is_linear(a: tuple[float, ...], b: tuple[float, ...]) -> None:
    x, y = torch.tensor(a), torch.tensor(b)
    torch.testing.assert_close(slerp(x, y, 0.25), 0.75 * x + 0.25 * y)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\[2, 3\] and \[3, 2\]") as refused:
        slerp(torch.zeros(2, 3), torch.zeros(3, 2), 0.5)
    assert refused.value.help
