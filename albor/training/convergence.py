"""Whether the losses of a run are those of a model that learns: three criteria, from the lines of metrics.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

SPIKE_SPAN = 100
"""Logged losses that the moving average of the spike criterion spans."""
SPIKE = 2.0
"""Nats by which no loss may exceed the moving average."""
LOOKS = 20
"""Times that the trend is looked at over a run, each time as an average over what lies between two looks: the criterion
then means the same for a short run and a long one, and the noise from step to step does not count as a rise."""
FEWEST = 100
"""Losses below which the trend is skipped: a look would see little but the noise of single steps."""
RISES = 0.3
"""Share of the looks at which the average may have risen since the one before."""

Finding = tuple[bool, str]
"""Whether a criterion holds, and its numbers."""


def losses(metrics: Path) -> list[tuple[int, float]]:
    """(step, training loss) in order; of a step logged again after a resume the last one. Torn lines are passed over,
    as are steps without a finite loss."""
    found: dict[int, float] = {}
    with metrics.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                entry = json.loads(line)
                found[int(entry["step"])] = float(entry["loss"])
            except (ValueError, KeyError, TypeError):
                continue
    return sorted(found.items())


def convergence(series: Sequence[tuple[int, float]], warmup_steps: int) -> Iterator[Finding]:
    """The criteria on at least two losses: the last is below the first, the average seldom rises, nothing spikes."""
    values = [loss for _, loss in series]
    yield values[-1] < values[0], f"loss {values[0]:.3f} at step {series[0][0]:,}, {values[-1]:.3f} at the last"
    yield trend(values)
    # A loss is compared with the average of those before it, which it has not moved yet.
    above = [
        (loss - average, step)
        for (step, loss), average in zip(series[1:], ema(values, SPIKE_SPAN), strict=False)
        if step > warmup_steps
    ]
    if above:
        most, step = max(above)
        text = f"at most {most:+.3f} above its average after the warmup (step {step:,}), not more than {SPIKE}"
        yield most <= SPIKE, text


def trend(values: Sequence[float]) -> Finding:
    """Whether the average of the losses seldom rises from one look to the next."""
    if len(values) < FEWEST:
        return True, f"skipped: {len(values)} losses, fewer than {FEWEST}"
    span = len(values) // LOOKS
    looks = ema(values, span)[span - 1 :: span]
    rises = sum(after > before for before, after in pairwise(looks))
    rate = rises / (len(looks) - 1)
    return rate < RISES, f"its average rose at {rises} of {len(looks) - 1} looks: {rate:.2f}, must be below {RISES}"


def ema(values: Sequence[float], span: int) -> list[float]:
    """The exponential moving average with weight 2 / (span + 1), from the first value on."""
    weight, average, averages = 2 / (span + 1), values[0], []
    for value in values:
        average += weight * (value - average)
        averages.append(average)
    return averages
