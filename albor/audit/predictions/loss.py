"""FALSIFY-ALBOR-001: the loss decreases."""

from __future__ import annotations

import statistics
from itertools import pairwise

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested
from albor.contracts.base import TRAINING
from albor.runs.metrics import NAME as METRICS

SPAN = 100
"""Steps that the moving average spans."""
WINDOW = 500
"""Steps after which a rise that is still there counts as sustained."""
RISE = 0.05


@prediction(
    1,
    "the loss decreases",
    f"EMA({SPAN}) of the loss falls after the warmup, and is never more than {RISE:.0%} above where it was {WINDOW} "
    "steps before",
    TRAINING,
)
def loss(material: Material) -> Judgment:
    from albor.training.convergence import ema, losses

    short = f"{material.no_run} trains"
    for run in material.logged(*TRAINING):
        warmup = int(run.manifest.config["trainer"]["warmup_steps"])
        after = [(step, value) for step, value in losses(run.directory / METRICS) if step > warmup]
        between = statistics.median([b - a for (a, _), (b, _) in pairwise(after)] or [1])
        span = max(1, round(SPAN / between))
        if len(after) < 2 * span:
            short = f"{name(run)} has {len(after):,} losses after its warmup, fewer than two spans of {span}"
            continue
        # The first value of an average is a single loss; it is one when it has seen a span of them.
        averages = ema([value for _, value in after], span)[span - 1 :]
        steps = [step for step, _ in after][span - 1 :]
        window = min(round(WINDOW / between), len(averages) - 1)
        rise, at = max((averages[i + window] / averages[i] - 1, i) for i in range(len(averages) - window))
        across = steps[at + window] - steps[at]
        text = (
            f"{name(run)}: EMA({SPAN}) {averages[0]:.4f} at step {steps[0]:,}, {averages[-1]:.4f} at step {steps[-1]:,}"
            f"; at most {rise:+.1%} over {across:,} steps (to step {steps[at + window]:,})"
        )
        if across < WINDOW:
            text += f", and the run has no {WINDOW} steps to look over"
        holds = averages[-1] < averages[0] and rise <= RISE
        return judged(
            holds, text, run=run.manifest.id, first=averages[0], last=averages[-1], rise=rise, window_steps=across
        )
    return untested(short, "python -m albor stage=pretrain trainer.max_steps=1000 trainer.epochs=100")
