"""Gradient clipping: torch's by the norm, ZClip against a plain reference."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from albor.config.schema.optim import AdamW
from albor.training.optimizers import Clip

CPU = torch.device("cpu")


def parameters(seed: int, scale: float = 1.0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    made = [nn.Parameter(torch.zeros(shape)) for shape in [(7, 5), (3,), (2, 9)]]
    for parameter in made:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return [*made, nn.Parameter(torch.zeros(4))]


def of_norm(norm: float) -> list[nn.Parameter]:
    """Parameters whose gradients have the global norm ``norm``."""
    made = nn.Parameter(torch.zeros(2))
    made.grad = torch.tensor([norm, 0.0])
    return [made]


def clipped(clip: Clip, norms: Iterable[float]) -> list[float]:
    """The norms of the gradients after ``clip`` had them, as the gradients have it."""
    found = []
    for norm in norms:
        made = of_norm(norm)
        raw, after = clip(made)
        assert made[0].grad is not None
        assert raw.item() == pytest.approx(norm) and after.item() == pytest.approx(made[0].grad[0].item(), rel=1e-4)
        found.append(made[0].grad[0].item())
    return found


@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3), limit=st.floats(1e-2, 1e2))
def test_without_zclip_it_is_torchs(seed: int, scale: float, limit: float) -> None:
    ours, theirs = parameters(seed, scale), parameters(seed, scale)
    raw, after = Clip(AdamW(lr=1, clip_norm=limit), CPU)(ours)
    expected = torch.nn.utils.clip_grad_norm_(theirs, limit)
    assert torch.equal(raw, expected) and raw.dtype == after.dtype == torch.float32 and raw.dim() == after.dim() == 0
    for one, other in zip(ours, theirs, strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or other.grad is None or torch.equal(one.grad, other.grad)
    assert after.item() == pytest.approx(
        torch.nn.utils.get_total_norm([p.grad for p in ours if p.grad is not None]).item(), rel=1e-3
    )
    assert after <= limit * (1 + 1e-6) and after <= raw


class Reference:
    """ZClip in plain Python, after the paper."""

    def __init__(self, threshold: float, limit: float) -> None:
        self.threshold, self.limit = threshold, limit
        self.first: list[float] = []
        self.mean = self.variance = 0.0

    def __call__(self, norm: float) -> float:
        if not math.isfinite(norm):
            return norm
        kept = norm
        if len(self.first) < 25:
            self.first.append(norm)
            self.mean = sum(self.first) / len(self.first)
            self.variance = sum((x - self.mean) ** 2 for x in self.first) / len(self.first)
        else:
            std = math.sqrt(self.variance)
            z = (norm - self.mean) / (std + 1e-6)
            if z > self.threshold:
                kept = self.mean + self.threshold**2 / z * std
            self.mean = 0.97 * self.mean + 0.03 * kept
            self.variance = 0.97 * self.variance + 0.03 * (kept - self.mean) ** 2
        return min(kept, self.limit)


norms = st.one_of(
    st.floats(0.2, 1.5), st.floats(0.2, 1.5), st.floats(5, 1e4), st.sampled_from([math.nan, math.inf])
)  # fmt: skip


@given(
    first=st.lists(st.floats(0.2, 1.5), min_size=20, max_size=25),
    rest=st.lists(norms, max_size=40),
    threshold=st.floats(1.5, 4),
    limit=st.sampled_from([0.5, 1.0, 1e6]),
)
def test_zclip_is_the_papers(first: list[float], rest: list[float], threshold: float, limit: float) -> None:
    clip, reference = Clip(AdamW(lr=1, clip_norm=limit, zclip=threshold), CPU), Reference(threshold, limit)
    for norm in [*first, *rest]:
        made = of_norm(norm)
        raw, after = clip(made)
        expected = reference(norm)
        assert raw.item() == pytest.approx(norm, nan_ok=True)
        assert after.item() == pytest.approx(expected, rel=1e-2, nan_ok=True)
    state = clip.state()
    assert state["count"] == min(25, len(reference.first))
    assert state["mean"] == pytest.approx(reference.mean, rel=1e-3)
    assert math.sqrt(state["variance"]) == pytest.approx(math.sqrt(reference.variance), rel=1e-2, abs=1e-3)


def test_a_spike_is_cut_to_the_usual_and_the_harder_the_larger() -> None:
    usual = [1 + 0.1 * (-1) ** i for i in range(40)]
    cut = {}
    for spike in (1.2, 1.4, 3.0, 1e6):
        clip = Clip(AdamW(lr=1, clip_norm=1e9, zclip=2.5), CPU)
        assert clipped(clip, usual) == pytest.approx(usual, rel=1e-4)
        (cut[spike],) = clipped(clip, [spike])
    assert cut[1.2] == pytest.approx(1.2, rel=1e-4), "two standard deviations are nothing unusual"
    assert 1.25 > cut[1.4] > cut[3.0] > cut[1e6] == pytest.approx(1, rel=1e-2)


@given(norms=st.lists(st.floats(0.1, 100), min_size=30, max_size=60), limit=st.floats(0.1, 10))
def test_never_above_the_fixed_limit(norms: list[float], limit: float) -> None:
    clip = Clip(AdamW(lr=1, clip_norm=limit, zclip=2.5), CPU)
    assert max(clipped(clip, norms)) <= limit * (1 + 1e-5)


@given(norms=st.lists(st.floats(0.1, 100), max_size=60), bad=st.sampled_from([math.nan, math.inf]))
def test_a_norm_that_is_not_finite_leaves_no_trace(norms: list[float], bad: float) -> None:
    optim = AdamW(lr=1, zclip=2.5)
    clean, struck = Clip(optim, CPU), Clip(optim, CPU)
    for norm in norms:
        clean(of_norm(norm))
        struck(of_norm(norm))
        raw, after = struck(of_norm(bad))
        assert not raw.isfinite() and not after.isfinite()
        assert struck.state() == clean.state()


@given(norms=st.lists(st.floats(0.1, 100), max_size=60), after=st.lists(st.floats(0.1, 100), min_size=1, max_size=30))
@settings(max_examples=50)
def test_resumed_through_json_is_continuous(norms: list[float], after: list[float]) -> None:
    optim = AdamW(lr=1, clip_norm=50, zclip=2.0)
    through, resumed = Clip(optim, CPU), Clip(optim, CPU)
    for norm in norms:
        through(of_norm(norm))
    resumed.load(json.loads(json.dumps(through.state(), allow_nan=False)))
    assert resumed.state() == through.state()
    for norm in after:
        one, other = through(of_norm(norm)), resumed(of_norm(norm))
        assert [v.item() for v in one] == [v.item() for v in other]
    assert resumed.state() == through.state()
