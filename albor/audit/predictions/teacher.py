"""FALSIFY-ALBOR-006: the teacher's logits are stored as they were."""

from __future__ import annotations

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested

STAGE = "teacher_logits"
TOLERANCE = 1e-4
BATCHES = 100


@prediction(
    6,
    "the teacher's logits are stored intact",
    f"stored and live log-probabilities differ by at most {TOLERANCE:g} on {BATCHES} batches of the same shape; "
    "sampled tokens and weights are equal when drawn again",
    (STAGE,),
)
def teacher(material: Material) -> Judgment:
    """Reads the fact ``check`` of a run: {"batches": …, "max_difference": …}, or {"batches": …, "redrawn_equal": …}."""
    for run in material.of(STAGE):
        check = run.manifest.facts.get("check")
        if not check or check["batches"] < BATCHES:
            continue
        if "redrawn_equal" in check:
            text, holds = "drawn again they are equal", bool(check["redrawn_equal"])
            text = text if holds else "drawn again they are not equal"
        else:
            holds = check["max_difference"] <= TOLERANCE
            text = f"at most {check['max_difference']:.2e} apart"
        return judged(holds, f"{name(run)}: {text}, on {check['batches']:,} batches", run=run.manifest.id, **check)
    why = f"no {STAGE} run has compared {BATCHES} batches of what it stored with what the teacher says"
    return untested(why, f"python -m albor stage={STAGE}")
