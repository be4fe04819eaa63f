"""The learning rate as a pure function of the step. Steps count from 1: step t is trained with lr(t)."""

from __future__ import annotations

import math

from albor.config.schema.optim import Schedule


def lr_factor(
    step: int, *, schedule: Schedule, warmup_steps: int, total_steps: int, min_lr_ratio: float, decay_fraction: float
) -> float:
    """Share of the peak learning rate at ``step`` (1 … total_steps), per C-TRAINCFG-001.

    Rises linearly to 1 at ``step == warmup_steps``, never rises again, and ends at ``min_lr_ratio`` on the last
    step (a constant schedule stays at 1).
    """
    if step < warmup_steps:
        return step / warmup_steps
    decay_from = warmup_steps
    if schedule == "constant":
        return 1.0
    if schedule == "wsd":
        decay_from = max(warmup_steps, total_steps - round(decay_fraction * total_steps))
    if step <= decay_from or total_steps <= decay_from:
        return 1.0
    progress = min(1.0, (step - decay_from) / (total_steps - decay_from))
    fall = 0.5 * (1 + math.cos(math.pi * progress)) if schedule == "cosine" else 1 - progress
    return min_lr_ratio + (1 - min_lr_ratio) * fall
