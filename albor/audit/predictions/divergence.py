"""FALSIFY-ALBOR-004: the divergence from the teacher is not negative."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction
from albor.runs.replay import metrics

if TYPE_CHECKING:
    from torch import Tensor

STAGE = "distill"
LEAST = -1e-7
PAIRS = 10_000
VOCABULARY = 512
TEMPERATURES = (0.5, 1.0, 2.0, 4.0)
"""Each for its share of the pairs."""
SCALES = (-3.0, 1.5)
"""Powers of ten between which the logits' standard deviation is drawn."""
DISTANCES = (-6.0, 0.0)
"""Powers of ten between which it is drawn how far the student is from the teacher: rounding shows where it is near."""
SEED = 0
LOGGED = "divergence"


@prediction(
    4,
    "the KL divergence is not negative",
    f"KL ≥ {LEAST:g} over {PAIRS:,} random pairs of logits and over training",
    (STAGE,),
)
def divergence(material: Material) -> Judgment:
    """The pairs are drawn and compared here and now; training is what the newest run that distils has logged."""
    drawn = smallest()
    numbers: dict[str, object] = {"pairs": PAIRS, "seed": SEED, "smallest": drawn}
    text = f"at least {drawn:.2e} nats over {PAIRS:,} pairs of {VOCABULARY} logits (seed {SEED})"
    for run in material.logged(STAGE):
        found = {step: line[LOGGED] for step, line in metrics(run.directory).items() if line.get(LOGGED) is not None}
        if found:
            at = min(found, key=lambda step: found[step])
            text += f"; {name(run)}: at least {found[at]:.2e} (step {at:,}) over {len(found):,} steps"
            numbers |= {"run": run.manifest.id, "smallest_logged": found[at], "step": at, "steps": len(found)}
            return judged(drawn >= LEAST and found[at] >= LEAST, text, **numbers)
    text += f"; {material.no_run} has logged a divergence, so the verdict rests on the random pairs alone"
    return judged(drawn >= LEAST, text, **numbers)


def smallest() -> float:
    """The smallest divergence of the pairs; not a number when one of them is none."""
    from albor.training.distillation import kl

    return smallest_by(kl)


@cache
def smallest_by(kl: Callable[..., Tensor]) -> float:
    """Drawn once: the cards of a ladder's rungs all ask."""
    import torch

    generator = torch.Generator().manual_seed(SEED)

    def powers(between: tuple[float, float], count: int) -> torch.Tensor:
        low, high = between
        return 10 ** (low + (high - low) * torch.rand(count, 1, generator=generator))

    found, count = [], PAIRS // len(TEMPERATURES)
    for temperature in TEMPERATURES:
        teacher, other = torch.randn(2, count, VOCABULARY, generator=generator) * powers(SCALES, count)
        student = teacher + powers(DISTANCES, count) * (other - teacher)
        found.append(kl(student, teacher, temperature=temperature).min())
    return float(torch.stack(found).min())
