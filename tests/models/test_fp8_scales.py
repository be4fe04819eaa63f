"""Delayed scaling: the scales of fp8 come from the largest magnitudes of the steps before."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from albor.models.fp8 import E4M3, E5M2, HEADROOM, KINDS, STEPS, Scales

LAYERS = 3
LARGEST = torch.tensor([torch.finfo(E4M3).max] * 2 + [torch.finfo(E5M2).max] * 2)
TOKENS = 1_000
magnitudes = st.floats(2.0**-60, 2.0**60, width=32)


def scales() -> Scales:
    return Scales(LAYERS, torch.device("cpu"), TOKENS)


class Magnitudes(torch.autograd.Function):
    """A layer that reports magnitudes as fp8's do: as the gradient of its probe."""

    @staticmethod
    def forward(ctx, x: Tensor, probe: Tensor, seen: Tensor) -> Tensor:
        ctx.seen = seen
        return x.clone()

    @staticmethod
    def backward(ctx, *outputs: Tensor) -> tuple[Tensor, Tensor, None]:
        return outputs[0], ctx.seen, None


def micro_batch(made: Scales, seen: Tensor) -> None:
    """A forward and a backward pass in which layer i meets the magnitudes seen[i]."""
    x = torch.ones(1, requires_grad=True)
    for layer in range(LAYERS):
        x = Magnitudes.apply(x, made.of(layer)[1], seen[layer])
    x.sum().backward()
    made.observe()


def step(made: Scales, *seen: Tensor) -> None:
    for each in seen:
        micro_batch(made, each)
    made.advance()


def like(value: float) -> Tensor:
    return torch.full((LAYERS, KINDS), value)


def scale_of(largest: Tensor) -> Tensor:
    return LARGEST / (HEADROOM * largest)


def test_the_first_ones_guess_that_a_gradient_is_one_over_the_tokens() -> None:
    made = scales()
    for layer in range(LAYERS):
        scale, probe = made.of(layer)
        assert scale.shape == probe.shape == (KINDS,)
        torch.testing.assert_close(scale, scale_of(torch.tensor([32.0, 16.0, 1 / TOKENS, 1 / TOKENS])))


def test_a_layer_and_a_kind_has_its_own() -> None:
    made = scales()
    seen = torch.rand(LAYERS, KINDS) + 100
    for _ in range(STEPS):
        step(made, seen)
    for layer in range(LAYERS):
        torch.testing.assert_close(made.of(layer)[0], scale_of(seen[layer]))


@given(st.lists(st.lists(magnitudes, min_size=1, max_size=3), min_size=1, max_size=2 * STEPS))
def test_the_largest_of_all_micro_batches_of_the_latest_steps_counts(steps) -> None:
    made = scales()
    for values in steps:
        step(made, *map(like, values))
    largest = like(max(max(values) for values in steps[-STEPS:]))
    if len(steps) < STEPS:  # the guess is among them
        largest = torch.maximum(largest, torch.tensor([32.0, 16.0, 1 / TOKENS, 1 / TOKENS]))
    torch.testing.assert_close(torch.stack([made.of(layer)[0] for layer in range(LAYERS)]), scale_of(largest))


@given(magnitudes)
def test_a_value_may_grow_by_the_headroom_before_it_saturates(magnitude) -> None:
    made = scales()
    for _ in range(STEPS):
        step(made, like(magnitude))
    scaled = made.of(0)[0] * magnitude * HEADROOM
    torch.testing.assert_close(scaled, LARGEST, rtol=1e-6, atol=0)


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_what_is_not_finite_teaches_nothing_and_harms_nobody_else(value) -> None:
    made = scales()
    for _ in range(STEPS):
        step(made, like(50.0))
    seen = like(70.0)
    seen[1, 2] = value
    step(made, seen, like(60.0))
    expected = scale_of(like(70.0))
    expected[1, 2] = LARGEST[2] / (HEADROOM * 50.0)
    torch.testing.assert_close(made.scale, expected)
    step(made, like(80.0))
    torch.testing.assert_close(made.scale, scale_of(like(80.0)))


def test_a_layer_that_met_only_zeros_keeps_its_scale() -> None:
    made = scales()
    for _ in range(STEPS):
        step(made, like(50.0))
    for _ in range(2 * STEPS):
        step(made, like(0.0))
    torch.testing.assert_close(made.scale, scale_of(like(50.0)))


def test_a_step_without_a_pass_is_refused() -> None:
    with pytest.raises(AssertionError):
        scales().observe()


def test_calibrating_forgets_the_guess() -> None:
    made = scales()
    micro_batch(made, like(0.25))
    micro_batch(made, like(0.125))
    made.calibrate()
    torch.testing.assert_close(made.scale, scale_of(like(0.25)))
    step(made, like(0.5))
    torch.testing.assert_close(made.scale, scale_of(like(0.5)))


def test_calibrating_with_what_is_not_finite_keeps_the_guess() -> None:
    made = scales()
    before = made.scale
    micro_batch(made, like(math.inf))
    made.calibrate()
    assert torch.equal(made.scale, before)


@given(st.lists(magnitudes, min_size=1, max_size=STEPS + 2), st.lists(magnitudes, min_size=1, max_size=STEPS))
def test_what_a_checkpoint_keeps_goes_on_to_the_same_bits(before, after) -> None:
    one, other = scales(), Scales(LAYERS, torch.device("cpu"), 7 * TOKENS)
    for value in before:
        step(one, like(value))
    other.load(json.loads(json.dumps(one.state(), allow_nan=False)))
    assert torch.equal(one.scale, other.scale)
    for value in after:
        for made in (one, other):
            step(made, like(value))
        assert torch.equal(one.scale, other.scale)


def test_scales_change_between_steps_only() -> None:
    """The graph of a step keeps what it was compiled with, whatever its micro-batches meet."""
    made = scales()
    before = made.of(1)[0].clone()
    for value in (1e3, 1e4):
        micro_batch(made, like(value))
        assert torch.equal(made.of(1)[0], before)
    made.advance()
    assert not torch.equal(made.of(1)[0], before)
