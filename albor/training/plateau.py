"""Telling a plateau from the calm at the end of training, and naming its likely causes.

The original's third run (constant learning rate, 4,096 tokens a step) sank to a perplexity of about 1,000 within a few
thousand steps and stayed there for 28,000, while its gradients shrank to almost nothing.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

IMPROVEMENT = 0.01
"""A loss that falls by less than this share of itself over the window is flat."""
COLLAPSE = 0.2
"""A gradient norm below this share of its peak after warmup has collapsed."""
HIGH = 0.5
"""Share of the peak learning rate from which a flat loss means something: below it, calm is what the decay is for."""
SHORTEST_WINDOW = 100
SHARE_OF_RUN = 0.05
SHARE_OF_TRAINING = 1 / 3
"""A healthy loss follows a power law of the steps, so it falls ever more slowly; but over the last third of the steps
so far it falls by some per cent."""
SMOOTHING = 0.5
"""Share of the shortest window of a run that its running means reach back over."""
SAMPLES = 512
"""Points of the smoothed loss that are kept over the whole run."""


@dataclass
class Seen:
    """What a checkpoint keeps."""

    loss: float | None = None
    """Running mean of the loss."""
    norm: float | None = None
    """Running mean of the gradient norm."""
    peak_norm: float = 0.0
    """Its largest value after warmup."""
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    """The running mean of the loss at some ``steps`` after warmup."""
    told_at: float | None = None
    """The loss at which the plateau was told of; None while there is none."""


class Plateau:
    """Watches the loss and the gradient norm, step by step.

    A plateau is a loss that is flat while the gradient norm has collapsed and the learning rate is still high. Each of
    the three alone is healthy: the loss flattens and the norm may shrink as a model gets good, and both do when the
    learning rate decays.
    """

    def __init__(
        self,
        *,
        total_steps: int,
        warmup_steps: int,
        lr_factor: Callable[[int], float],
        causes: Sequence[str] = (),
    ) -> None:
        """
        Args:
            lr_factor: share of the peak learning rate at a step.
            causes: likely causes in this run, the likeliest first, each naming its contract.
        """
        self.warmup_steps, self.lr_factor, self.causes = warmup_steps, lr_factor, tuple(causes)
        self.window = max(SHORTEST_WINDOW, math.ceil(SHARE_OF_RUN * total_steps))
        self._weight = 2 / (SMOOTHING * self.window + 1)
        self._every = max(1, total_steps // SAMPLES)
        self._seen = Seen()

    def __call__(self, step: int, loss: float, grad_norm: float) -> str | None:
        """The diagnosis, once when a plateau begins. A step whose values are not finite counts for nothing."""
        if not (math.isfinite(loss) and math.isfinite(grad_norm)):
            return None
        seen = self._seen
        seen.loss = loss if seen.loss is None else seen.loss + self._weight * (loss - seen.loss)
        seen.norm = grad_norm if seen.norm is None else seen.norm + self._weight * (grad_norm - seen.norm)
        if step <= self.warmup_steps:
            return None
        seen.peak_norm = max(seen.peak_norm, seen.norm)
        if not seen.steps or step >= seen.steps[-1] + self._every:
            seen.steps.append(step)
            seen.losses.append(seen.loss)
        if seen.told_at is not None:
            if seen.loss < (1 - IMPROVEMENT) * seen.told_at:
                seen.told_at = None
            return None
        return self._look(step, seen.loss, seen.norm)

    def _look(self, step: int, loss: float, norm: float) -> str | None:
        seen = self._seen
        window = max(self.window, SHARE_OF_TRAINING * (step - self.warmup_steps))
        index = bisect_right(seen.steps, step - window) - 1
        if index < 0 or norm > COLLAPSE * seen.peak_norm or self.lr_factor(step) < HIGH:
            return None
        before = seen.losses[index]
        if loss < (1 - IMPROVEMENT) * before:
            return None
        seen.told_at = loss
        lines = [
            f"the loss went from {before:.3f} to {loss:.3f} in {step - seen.steps[index]:,} steps, and the "
            f"gradient norm has sunk to {norm:.3g}, from {seen.peak_norm:.3g} after warmup"
        ]
        if self.causes:
            lines += ["likely causes:", *(f"{n}. {cause}" for n, cause in enumerate(self.causes, 1))]
        return "\n  ".join(lines)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps (JSON)."""
        return asdict(self._seen)

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state()``."""
        kept: dict[str, Any] = {name: list(v) if isinstance(v, list) else v for name, v in state.items()}
        self._seen = Seen(**kept)
