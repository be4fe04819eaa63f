"""Which token is drawn, on every device the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from albor.inference import host
from albor.inference.engine import Sampling, derive_seed
from albor.inference.sampling import draws, knobs
from tests.models.triton_device import DEVICE, NEEDS_KERNELS, rounding_as_on_a_device


def picked(logits: Tensor, uniform: Tensor, **how: Any) -> Tensor:
    return choose(logits, uniform, spread_over(logits, **{"temperature": 1.0, **how}))


def choose(logits: Tensor, uniform: Tensor, asked: Tensor) -> Tensor:
    rows = zip(logits.numpy(), uniform.tolist(), asked.tolist(), strict=True)
    return torch.tensor([host.choose(row, number, *knob) for row, number, knob in rows])


def spread_over(logits: Tensor, **how: Any) -> Tensor:
    return torch.from_numpy(knobs([Sampling(**how)] * len(logits)))


def spread(count: int) -> Tensor:
    return torch.arange(count) / count


@pytest.mark.parametrize("temperature", [0.5, 1.0])
def test_frequencies_are_the_probabilities(temperature) -> None:
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0, 0.5])
    found = picked(logits.repeat(20_000, 1), spread(20_000), temperature=temperature)
    torch.testing.assert_close(
        found.bincount(minlength=5) / 20_000, (logits / temperature).softmax(-1), rtol=0, atol=1e-3
    )


def test_top_p_keeps_the_fewest_tokens_that_reach_it() -> None:
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log().repeat(1000, 1)
    for top_p, kept in ((0.4, {1}), (0.6, {1, 3}), (0.8, {1, 2, 3}), (1.0, {0, 1, 2, 3})):
        assert {*picked(logits, spread(1000), top_p=top_p).tolist()} == kept


def test_tokens_as_likely_as_the_last_one_stay_with_it() -> None:
    logits = torch.tensor([[0.2, 0.4, 0.2, 0.2]]).log().repeat(1000, 1)
    assert {*picked(logits, spread(1000), top_p=0.5).tolist()} == {0, 1, 2, 3}
    assert {*picked(logits, spread(1000), top_p=0.39).tolist()} == {1}


@pytest.mark.parametrize("vocab", [1, 2, 100, 130, 5000])
def test_the_highest_are_those_of_a_sort(vocab) -> None:
    torch.manual_seed(vocab)
    for logits in (row.numpy() for rows in kinds(3, max(vocab, 2)).values() for row in rows[:, :vocab]):
        for count in (1, 20, 128):
            found = host.highest(logits, count)
            assert found.tolist() == np.argsort(-logits, kind="stable")[:count].tolist()


def test_top_k_keeps_the_highest_and_their_equals() -> None:
    logits = np.array([1.0, 3.0, 2.0, 2.0, 0.0], np.float32)
    for top_k, kept in ((0, 5), (1, 1), (2, 3), (3, 3), (4, 4), (5, 5), (128, 5)):
        assert int(np.isfinite(host.narrow(logits, top_k)).sum()) == kept


def test_random_numbers_follow_the_seed_alone() -> None:
    assert draws(5, 30)[:10].tolist() == draws(5, 10).tolist() != draws(6, 10).tolist()
    assert 0 <= draws(2**64 - 1, 1000).min() < 0.01 and 0.99 < draws(2**64 - 1, 1000).max() < 1
    seeds = {derive_seed(0), derive_seed(1), derive_seed(0, "a", 1), derive_seed(0, "a", 2), derive_seed(0, "a1")}
    assert len(seeds) == 5 and all(0 <= seed < 2**64 for seed in seeds)
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1)


# --- the kernel ---

SHAPES = [(1, 2), (7, 61), (3, 1024), (2, 1025), (2, 5000)]
HOW = [(0.2, 0.95), (1.0, 0.95), (1.0, 1.0), (5.0, 0.5), (0.7, 1e-6), (1.0, 0.999999)]


def kinds(rows: int, vocab: int) -> dict[str, Tensor]:
    """Logits as they come: spread, sure, all equal, with many ties, and with some ruled out."""
    noise = torch.randn(rows, vocab)
    sure = noise.clone()
    sure[torch.arange(rows), torch.randint(0, vocab, (rows,))] += 30.0
    ruled_out = noise.masked_fill(torch.rand(rows, vocab) < 0.3, float("-inf"))
    ruled_out[:, 1] = 0.0
    return {"spread": 3 * noise, "sure": sure, "equal": torch.full((rows, vocab), 2.5),
            "ties": (2 * noise).round() / 2, "ruled out": ruled_out}  # fmt: skip


@pytest.mark.parametrize("how", HOW, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.gpu
@NEEDS_KERNELS[1]
def test_the_kernel_draws_the_same_tokens(shape, how) -> None:
    from albor.inference import kernels

    torch.manual_seed(0)
    temperature, top_p = how
    for name, logits in kinds(*shape).items():
        asked = spread_over(logits, temperature=temperature, top_p=top_p)
        for uniform in (torch.rand(len(logits)), torch.zeros(len(logits)), torch.full((len(logits),), 1 - 2**-24)):
            expected = choose(logits, uniform, asked)
            with rounding_as_on_a_device():
                found = kernels.choose(logits.to(DEVICE), uniform.to(DEVICE), asked.to(DEVICE)).cpu()
            for row in (found != expected).nonzero().flatten().tolist():
                assert_at_a_boundary(logits[row], float(uniform[row]), temperature, top_p, int(found[row]), name)


def assert_at_a_boundary(
    logits: Tensor, uniform: float, temperature: float, top_p: float, found: int, name: str
) -> None:
    """Another token may be drawn only where rounding decides: the same number a little aside would draw it."""
    shares = (logits.double() / temperature).softmax(-1)
    aside: list[int] = []
    for p in (top_p - 2e-6, top_p, top_p + 2e-6):
        ordered = shares.sort(descending=True).values
        last = ordered[(ordered.cumsum(0) < p).sum().clamp(max=len(ordered) - 1)] if p < 1 else 0.0
        reached = shares.masked_fill(shares < last * (1 - 1e-9), 0.0).cumsum(0)
        targets = torch.tensor([uniform - 2e-6, uniform + 2e-6]).clamp(min=0.0).double() * reached[-1]
        aside += torch.searchsorted(reached, targets, right=True).tolist()
    assert found in range(min(aside), max(aside) + 1), (name, uniform, found, aside)
    assert shares[found] > 0
