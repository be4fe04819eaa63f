"""Linear, task arithmetic, TIES and DARE, a tensor at a time: what must hold of each."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from albor.config.schema.merge import Dare, Linear, Merge, Slerp, TaskArithmetic, Ties
from albor.errors import AlborError
from albor.models.errors import ModelError
from albor.transforms.merge import drop, merge, trim

SEEDS = st.integers(0, 10**6)
SHARES = st.floats(0.05, 1)
BASED: tuple[Merge, ...] = (TaskArithmetic(), Ties(), Dare(), Dare(variant="ties", normalise=True))


def drawn(seed: int, count: int = 3, shape: tuple[int, ...] = (6, 50)) -> list[Tensor]:
    """A base, then models near it."""
    base, *others = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
    return [base, *(base + 0.1 * other for other in others)]


def merged(method: Merge, tensors: list[Tensor], base: Tensor | None = None, seed: int = 0) -> Tensor:
    return merge(method, tensors, base, name="w", seed=seed)


def assert_close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


@given(seed=SEEDS, weights=st.lists(st.floats(0.1, 5), min_size=1, max_size=5))
def test_linear_of_equal_models_is_the_model(seed: int, weights: list[float]) -> None:
    x = drawn(seed)[0]
    assert_close(merged(Linear(weights=tuple(weights)), [x] * len(weights)), x)


@given(seed=SEEDS, weights=st.lists(st.floats(-2, 2), min_size=3, max_size=3), density=SHARES)
def test_the_order_of_models_does_not_matter(seed: int, weights: list[float], density: float) -> None:
    base, *models = drawn(seed, 4)
    turned = (weights[2], weights[0], weights[1])
    linear = (Linear(weights=tuple(w), normalise=False) for w in (weights, turned))
    ties = (Ties(weights=tuple(w), density=density, normalise=False) for w in (weights, turned))
    for (one, other), start in ((linear, None), (ties, base)):
        assert_close(merged(one, models, start), merged(other, [models[2], models[0], models[1]], start))


@given(seed=SEEDS, weight=st.floats(0.1, 3))
def test_ties_of_one_whole_model_is_that_model(seed: int, weight: float) -> None:
    base, model = drawn(seed, 2)
    assert_close(merged(Ties(density=1.0, weights=(weight,)), [model], base), model)


@given(seed=SEEDS, weights=st.tuples(st.floats(-2, 2), st.floats(-2, 2)), scale=st.floats(-2, 2))
def test_dare_that_drops_nothing_is_task_arithmetic(seed: int, weights: tuple[float, float], scale: float) -> None:
    base, *models = drawn(seed)
    dare, plain = Dare(density=1.0, weights=weights, scale=scale), TaskArithmetic(weights=weights, scale=scale)
    assert torch.equal(merged(dare, models, base), merged(plain, models, base))


@given(seed=SEEDS)
def test_task_arithmetic_of_weights_that_add_up_to_one_is_linear(seed: int) -> None:
    base, *models = drawn(seed)
    assert_close(merged(TaskArithmetic(weights=(0.3, 0.7)), models, base), merged(Linear(weights=(3, 7)), models))
    assert_close(merged(TaskArithmetic(normalise=True), models, base), merged(Linear(), models))


@pytest.mark.parametrize("method", BASED, ids=repr)
def test_models_that_are_the_base_or_a_scale_of_nothing_give_the_base(method: Merge) -> None:
    base, *models = drawn(5)
    assert torch.equal(merged(method, [base, base], base), base)
    assert isinstance(method, (TaskArithmetic, Ties, Dare))
    still = type(method)(scale=0.0)
    assert torch.equal(merged(still, models, base), base)


def test_ties_by_hand() -> None:
    base = torch.ones(4)
    one, other = base + torch.tensor([4.0, -3.0, 0.1, 2.0]), base + torch.tensor([2.0, 1.0, 0.2, -2.0])
    # Trimmed: [4, −3, 0, 2] and [2, 1, 0, −2]. Elected: +, −, nothing, + (an even sum).
    expected = base + torch.tensor([3.0, -3.0, 0.0, 2.0])
    assert_close(merged(Ties(density=0.75), [one, other], base), expected)
    summed = Ties(density=0.75, normalise=False)
    assert_close(merged(summed, [one, other], base), base + torch.tensor([6.0, -3.0, 0.0, 2.0]))


@given(seed=SEEDS, density=st.floats(0.001, 1), levels=st.sampled_from([1, 3, 1000]))
def test_trimming_keeps_the_share_and_the_largest(seed: int, density: float, levels: int) -> None:
    delta = (drawn(seed, 1)[0] * levels).round() + 0.5  # with few levels, many are equal; none is zero
    kept = trim(delta, density)
    stays = kept != 0
    assert stays.sum() == max(1, int(density * delta.numel()))
    assert torch.equal(kept[stays], delta[stays])
    assert delta[stays].abs().min() >= delta[~stays].abs().amax() if not stays.all() else True


@pytest.mark.parametrize(("density", "stay"), [(0.25, 2), (0.5, 4), (0.75, 6)])
def test_of_equal_magnitudes_the_first_stay(density: float, stay: int) -> None:
    delta = torch.tensor([[1.0, -1.0, 1.0, -1.0], [-1.0, 1.0, -1.0, 1.0]])
    expected = torch.where(torch.arange(8).view(2, 4) < stay, delta, 0.0)
    assert torch.equal(trim(delta, density), expected)
    larger = torch.cat([delta, torch.tensor([[0.5, 3.0, 0.5, -3.0]])])  # the larger ones first, wherever they are
    kept = trim(larger, 0.5)
    assert torch.equal(kept[2], torch.tensor([0.0, 3.0, 0.0, -3.0]))
    assert torch.equal(kept[:2], torch.where(torch.arange(8).view(2, 4) < 4, delta, 0.0))


def test_a_difference_of_nothing_stays_nothing() -> None:
    delta = torch.tensor([0.0, 0.0, 2.0, 0.0])
    assert torch.equal(trim(delta, 0.75), delta)


def test_dropping_keeps_the_expectation_and_depends_on_the_key_alone() -> None:
    delta = torch.ones(1000, 1000)
    thinned = drop(delta, 0.3, "0/1/w", rescale=True)
    assert thinned.mean().item() == pytest.approx(1, abs=0.01)
    assert (thinned != 0).double().mean().item() == pytest.approx(0.3, abs=0.003)
    assert torch.equal(thinned, drop(delta, 0.3, "0/1/w", rescale=True))
    assert drop(delta, 0.3, "0/1/w", rescale=False).max() == 1
    others = [drop(delta, 0.3, key, rescale=True) != 0 for key in ("0/0/w", "1/1/w", "0/1/v")]
    agreement = [((thinned != 0) & other).double().mean().item() for other in others]
    assert agreement == pytest.approx([0.09] * 3, abs=0.003), "independent of one another"


@pytest.mark.parametrize("method", [Linear(), *BASED], ids=repr)
def test_the_dtype_stays_and_sums_are_taken_in_float32(method: Merge) -> None:
    base, *models = [tensor.bfloat16() for tensor in drawn(1)]
    start = base if method.needs_base else None
    result = merged(method, models, start)
    exact = merged(method, [m.float() for m in models], None if start is None else start.float())
    assert result.dtype == torch.bfloat16 and torch.equal(result, exact.bfloat16())
    assert merged(method, [models[0], models[1].float()], start).dtype == torch.float32


@pytest.mark.parametrize(
    ("method", "models", "based", "message"),
    [
        (Slerp(), 3, False, "slerp merges two models, not 3"),
        (Slerp(), 2, True, "slerp takes no base"),
        (Linear(), 0, False, "linear has no model"),
        (Linear(weights=(1, 2)), 3, False, "2 weights for 3 models"),
        (Linear(weights=(1, -1)), 2, False, "add up to 0"),
        (Ties(), 2, False, "ties needs the base"),
        (TaskArithmetic(weights=(1,)), 2, True, "1 weights for 2 models"),
    ],
)
def test_what_a_method_cannot_merge_is_refused(method: Merge, models: int, based: bool, message: str) -> None:
    with pytest.raises(AlborError, match=message) as refused:
        merged(method, [torch.ones(2)] * models, torch.ones(2) if based else None)
    assert refused.value.help


@pytest.mark.parametrize("method", BASED, ids=repr)
def test_a_base_of_another_shape_is_refused(method: Merge) -> None:
    with pytest.raises(ModelError, match="cannot be merged"):
        merged(method, [torch.ones(2), torch.ones(2)], torch.ones(1))
