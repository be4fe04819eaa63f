"""What is watched while a model trains, and what happens when it goes wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

from albor.config.types import NonNegative, Positive, Text, Unit

Logged = Literal[
    "loss",
    "lr",
    "grad_norm",
    "grad_norm_clipped",
    "tokens_per_second",
    "mfu",
    "mfu_6p",
    "memory_gib",
    "val_loss",
    "val_ppl",
    "val_bits_per_byte",
]
"""Metrics of a step or a validation, as metrics.jsonl has them."""
Sampled = Literal["gpu_utilization", "seconds_late"]
"""Metrics that are looked at every few seconds, whether a step ends or not: percent; seconds by which the step at hand
takes longer than the latest ones did."""


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One condition on one metric. It fires once, and again only after the condition has ended in between."""

    metric: Literal[Logged, Sampled]
    """What is watched: a number of metrics.jsonl, gpu_utilization (percent), or seconds_late."""
    above: float | None = None
    """Fires when the metric is larger than this."""
    below: float | None = None
    """Fires when the metric is smaller than this."""
    times_ema: bool = False
    """Take above and below times the metric's own running mean (EMA over 100 values) before this one."""
    from_step: NonNegative = 0
    """First step that counts. The validation before step 1 is step 0."""
    for_steps: Positive = 1
    """Values in a row that must be so: steps for a step's metric, validations for a validation's."""
    for_seconds: Annotated[float, Unit("seconds"), Ge(0)] = 0.0
    """How long it must have been so."""
    action: Literal["warn", "stop", "webhook"] = "warn"
    """What happens besides a line in metrics.jsonl: a warning; a warning that is also sent to url_env; or the end of
    the run after the step at hand, also sent if url_env is given. The same command resumes from the last checkpoint."""
    url_env: Text | None = None
    """Name of the environment variable that holds the address to POST to. The address itself, which may be a secret, is
    in no config and no manifest."""
