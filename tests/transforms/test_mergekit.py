"""Our merges against mergekit's (0.1.5; LGPL, so no dependency: install it beside to run these)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from albor.config.schema.merge import Dare, Linear, Merge, Slerp, TaskArithmetic, Ties
from albor.transforms.merge import drop, merge

pytest.importorskip("mergekit", reason="mergekit is not installed: `pip install --no-deps mergekit==0.1.5 immutables`")
api = pytest.importorskip("mergekit.merge_methods.api", reason="this mergekit has no merge_tensors: install 0.1.5")

pytestmark = pytest.mark.slow
WEIGHTS = ((0.5, 0.5), (1.0, 0.3), (0.7, -0.4))
SHAPES = ((5, 64), (128, 96), (1024, 1024))
SEED = 3


def cases(dtype: torch.dtype = torch.float32) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """A base and two models near it, small and large, far and near.

    In float64 for methods that compare numbers: in float32 many differences are equal or cancel to the last bit, and
    which of them wins is chance.
    """
    for i, shape in enumerate(SHAPES):
        for distance in (1e-3, 0.1, 2.0):
            base, *others = torch.randn(3, *shape, dtype=dtype, generator=torch.Generator().manual_seed(i))
            yield base, [base + distance * other for other in others]


def theirs(tensors: list[Tensor], method: str, base: Tensor | None = None, **parameters: Any) -> Tensor:
    inputs = tensors if base is None else [base, *tensors]
    result: Tensor = api.merge_tensors(inputs, method, parameters=parameters, base_index=None if base is None else 0)
    return result


def ours(method: Merge, tensors: list[Tensor], base: Tensor | None = None) -> Tensor:
    return merge(method, tensors, base, name="w", seed=SEED)


def apart(a: Tensor, b: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    return ((a - b).abs().max() / b.abs().max()).item()


@pytest.fixture(scope="module", autouse=True)
def largest() -> Iterator[dict[str, float]]:
    """The largest difference of each method, printed at the end."""
    found: dict[str, float] = {}
    yield found
    for name, difference in found.items():
        print(f"\n{name}: {difference:.1e}", end="")


def assert_agree(largest: dict[str, float], name: str, a: Tensor, b: Tensor) -> None:
    difference = apart(a, b)
    largest[name] = max(largest.get(name, 0.0), difference)
    assert difference <= 1e-6, name


@pytest.mark.parametrize("t", [0, 0.25, 0.6, 1])
def test_slerp(largest: dict[str, float], t: float) -> None:
    """mergekit's in float64: in float32 its sum over a million products is off by 4e-6 of the result, ours is not.

    Where a norm vanishes ours is linear, as the specification has it, and mergekit's takes the angle to be right.
    """
    for base, (a, b) in cases():
        for x, y in ((a, b), (base, base), (a, -a)):
            assert_agree(largest, "slerp", ours(Slerp(t=t), [x, y]), theirs([y.double()], "slerp", x.double(), t=t))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("normalise", [True, False])
def test_linear(largest: dict[str, float], weights: tuple[float, float], normalise: bool) -> None:
    for base, models in cases():
        mine = ours(Linear(weights=(*weights, 0.2), normalise=normalise), [*models, base])
        assert_agree(
            largest, "linear", mine, theirs([*models, base], "linear", weight=[*weights, 0.2], normalize=normalise)
        )


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("scale", [1.0, 0.4])
@pytest.mark.parametrize("normalise", [True, False])
def test_task_arithmetic(
    largest: dict[str, float], weights: tuple[float, float], scale: float, normalise: bool
) -> None:
    method = TaskArithmetic(weights=weights, scale=scale, normalise=normalise)
    for base, models in cases():
        parameters = {"weight": list(weights), "lambda": scale, "normalize": normalise}
        expected = theirs(models, "task_arithmetic", base, **parameters)
        assert_agree(largest, "task arithmetic", ours(method, models, base), expected)


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("normalise", [True, False])
def test_ties(largest: dict[str, float], weights: tuple[float, float], density: float, normalise: bool) -> None:
    method = Ties(weights=weights, density=density, normalise=normalise)
    for base, models in cases(torch.float64):
        parameters = {"weight": list(weights), "density": [density, density], "normalize": normalise}
        assert_agree(largest, "ties", ours(method, models, base), theirs(models, "ties", base, **parameters))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("variant", ["linear", "ties"])
@pytest.mark.parametrize("normalise", [True, False])
def test_dare_with_our_masks(largest, monkeypatch, weights, variant, normalise) -> None:
    """mergekit draws by torch.bernoulli, a model after the other: here it gets what we keep."""
    model = iter(range(0))
    density = 0.4
    monkeypatch.setattr(
        torch,
        "bernoulli",
        lambda share: drop(torch.ones_like(share), density, f"{SEED}/{next(model)}/w", rescale=False),
    )
    method = Dare(weights=weights, density=density, rescale=False, variant=variant, normalise=normalise)
    for base, models in cases(torch.float64):
        model = iter(range(2))
        parameters = {"weight": list(weights), "density": [density] * 2, "rescale": False, "normalize": normalise}
        mine = ours(method, models, base)  # draws nothing by bernoulli
        assert_agree(largest, f"dare {variant}", mine, theirs(models, f"dare_{variant}", base, **parameters))


def test_ties_of_float32_differ_in_what_is_decided_by_a_last_bit_only(largest: dict[str, float]) -> None:
    for base, models in cases():
        mine = ours(Ties(density=0.3), models, base)
        expected = theirs(models, "ties", base, weight=[1.0, 1.0], density=[0.3, 0.3])
        share = ((mine - expected).abs() > 1e-6 * expected.abs().max()).double().mean().item()
        largest["share that differs in float32 ties"] = max(
            largest.get("share that differs in float32 ties", 0.0), share
        )
        assert share <= 1e-3


def test_dare_is_rescaled_to_the_same_expectation(largest: dict[str, float]) -> None:
    """The paper, and we, divide by the density; mergekit restores the L1 norm, much the same in large tensors.

    The masks differ, so sums over a million numbers are compared.
    """
    base, models = list(cases())[-2]
    method = Dare(weights=(1, 1), density=0.5)
    sums = [
        ((merged - base) * (models[0] - base).sign()).mean().item()
        for merged in (
            ours(method, models, base),
            theirs(models, "dare_linear", base, weight=[1.0, 1.0], density=[0.5, 0.5]),
        )
    ]
    largest["dare's mean difference"] = abs(sums[0] / sums[1] - 1)
    assert sums[0] == pytest.approx(sums[1], rel=0.01)
