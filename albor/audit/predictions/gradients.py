"""FALSIFY-ALBOR-002: gradient norms are bounded."""

from __future__ import annotations

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested
from albor.contracts.base import TRAINING
from albor.runs.replay import metrics

BOUND = 10.0
CLIPPED = "grad_norm_clipped"


@prediction(
    2, "gradient norms are bounded", f"the largest global norm after clipping is below {BOUND:g}", stages=TRAINING
)
def gradients(material: Material) -> Judgment:
    for run in material.logged(*TRAINING):
        norms = {step: line[CLIPPED] for step, line in metrics(run.directory).items() if line.get(CLIPPED) is not None}
        if norms:
            at = max(norms, key=lambda step: norms[step])
            clip = run.manifest.config["optim"]["clip_norm"]
            text = f"{name(run)}: at most {norms[at]:.4f} (step {at:,}) over {len(norms):,} steps, clipped at {clip:g}"
            return judged(norms[at] < BOUND, text, run=run.manifest.id, largest=norms[at], step=at, steps=len(norms))
    return untested(f"{material.no_run} has logged gradient norms", "python -m albor stage=pretrain")
