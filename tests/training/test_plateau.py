"""The plateau of the original's third run is seen; healthy runs, noisy ones and the end of a decay are not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from albor.config.schedule import lr_factor
from albor.config.schema.optim import Schedule
from albor.training.plateau import Plateau

Curve = Callable[[int], tuple[float, float]]
"""Loss and gradient norm at a step, without noise."""
CAUSES = ("C-TRAINCFG-002: a", "C-TRAINCFG-003: b")


def watcher(steps: int, warmup: int, schedule: Schedule = "cosine") -> Plateau:
    def factor(step: int) -> float:
        return lr_factor(step, schedule=schedule, warmup_steps=warmup, total_steps=steps, min_lr_ratio=0.1,
                         decay_fraction=0.2)  # fmt: skip

    return Plateau(total_steps=steps, warmup_steps=warmup, lr_factor=factor, causes=CAUSES)


def told(plateau: Plateau, curve: Curve, steps: int, *, noise: float = 0.0, seed: int = 0) -> Iterator[tuple[int, str]]:
    rng = np.random.default_rng(seed)
    for step in range(1, steps + 1):
        loss, norm = curve(step)
        said = plateau(step, loss + noise * rng.standard_normal(), norm * math.exp(noise * rng.standard_normal()))
        if said:
            yield step, said


def power_law(floor: float, scale: float, exponent: float, norm: float = 0.3) -> Curve:
    """A healthy run: a power law towards a floor, a gradient norm that sinks tenfold from its peak."""
    return lambda step: (floor + scale * step**-exponent, norm + 9 * norm * math.exp(-step / 500))


def original(step: int) -> tuple[float, float]:
    """Down to a perplexity of 1,000 in 5,000 steps, and the gradient norm from 3 to 0.13."""
    return math.log(1000) + 3.5 * math.exp(-step / 1500), 0.13 + 2.9 * math.exp(-step / 3000)


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.4])
def test_the_originals_plateau_is_told_once_with_its_causes(noise: float) -> None:
    found = list(told(watcher(250_000, 2_000, "constant"), original, 40_000, noise=noise))
    assert len(found) == 1
    step, said = found[0]
    assert 14_500 <= step <= 30_000
    assert "gradient norm has sunk" in said and said.index("1. C-TRAINCFG-002: a") < said.index("2. C-TRAINCFG-003: b")


@pytest.mark.parametrize("schedule", ["cosine", "linear", "wsd", "constant"])
@pytest.mark.parametrize("noise", [0.0, 0.05, 0.3])
@pytest.mark.parametrize(
    ("steps", "warmup", "curve"),
    [
        (7_500, 375, power_law(1.7, 30, 0.35)),
        (60_000, 2_000, power_law(1.7, 25, 0.28)),
        (360, 30, power_law(2.0, 10, 0.3)),
        (600, 60, power_law(1.0, 12, 0.4)),
    ],
)
def test_a_healthy_run_is_left_alone(schedule: Schedule, noise: float, steps: int, warmup: int, curve: Curve) -> None:
    assert list(told(watcher(steps, warmup, schedule), curve, steps, noise=noise)) == []


@pytest.mark.parametrize(("schedule", "calm_from"), [("cosine", 6_000), ("linear", 6_500), ("wsd", 9_300)])
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_calm_at_the_end_of_the_decay_is_no_plateau(schedule: Schedule, calm_from: int, noise: float) -> None:
    """Loss and gradient norm are both flat for what is left."""

    def curve(step: int) -> tuple[float, float]:
        left = max(0.0, 1 - step / calm_from)
        return 2.6 + 3 * left, 0.1 + 2 * left

    assert list(told(watcher(10_000, 500, schedule), curve, 10_000, noise=noise)) == []
    assert list(told(watcher(10_000, 500, "constant"), curve, 10_000, noise=noise)) or schedule == "wsd"


def test_a_flat_loss_with_live_gradients_is_no_plateau() -> None:
    assert list(told(watcher(10_000, 100, "constant"), lambda step: (7.0, 1.0), 10_000, noise=0.1)) == []


def test_it_is_told_again_after_the_loss_has_moved() -> None:
    def stairs(step: int) -> tuple[float, float]:
        high = 7.0 if step < 4_000 else 7.0 - min(2.0, (step - 4_000) / 500)
        return high, 0.1 + 3 * math.exp(-step / 300)

    steps = [step for step, _ in told(watcher(10_000, 100, "constant"), stairs, 10_000)]
    assert len(steps) == 2 and steps[0] < 4_000 < 5_000 < steps[1]


def test_a_resumed_run_says_the_same_at_the_same_step() -> None:
    whole = watcher(50_000, 500, "constant")
    rng = np.random.default_rng(3)
    values = [(a + 0.1 * rng.standard_normal(), b) for a, b in map(original, range(1, 20_001))]
    wanted = [(i, text) for i, v in enumerate(values) if (text := whole(i + 1, *v))]
    assert len(wanted) == 1
    for cut in (400, 9_999, wanted[0][0], wanted[0][0] + 1):
        first, second = watcher(50_000, 500, "constant"), watcher(50_000, 500, "constant")
        said = [(i, text) for i, v in enumerate(values[:cut]) if (text := first(i + 1, *v))]
        second.load(json.loads(json.dumps(first.state())))
        said += [(i, text) for i, v in enumerate(values[cut:], cut) if (text := second(i + 1, *v))]
        assert said == wanted
        assert second.state() == whole.state()


def test_values_that_are_not_finite_count_for_nothing() -> None:
    plateau = watcher(1_000, 10)
    plateau(11, 5.0, 1.0)
    before = plateau.state()
    assert plateau(12, math.nan, 1.0) is None and plateau(13, 5.0, math.inf) is None
    assert plateau.state() == before
