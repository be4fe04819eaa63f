"""FALSIFY-ALBOR-009: quantisation costs little."""

from __future__ import annotations

from albor.audit.evaluations import Evaluation
from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested

STAGE = "quantize"
RATIO = 1.05
SAME = ("val_rows", "val_tokens")
"""Facts in which two evaluations must agree to have measured the same."""


@prediction(9, "quantisation costs little", f"PPL(q4) < {RATIO} × PPL(fp16) on the same rows", (STAGE,))
def quantization(material: Material) -> Judgment:
    command = f"python -m albor stage=eval eval.of={STAGE}"
    why = f"{material.no_run} quantises"
    for run in material.of(STAGE):
        given = run.manifest.inputs["model"]
        for small in material.evaluations(run.manifest.id):
            for full in material.evaluations(given.id):
                if same_rows(small, full):
                    return ratio(small, full)
        why = f"{name(run)} and the model {given.id} that it is made from are not both evaluated on the same rows"
    return untested(why, command)


def same_rows(a: Evaluation, b: Evaluation) -> bool:
    if a.rows is None or b.rows is None or a.rows.id != b.rows.id:
        return False
    facts = [[made.facts.get(key) for key in SAME] for made in (a, b)]
    return facts[0] == facts[1] and None not in facts[0]


def ratio(small: Evaluation, full: Evaluation) -> Judgment:
    q4, fp16 = (float(made.facts["val_ppl"]) for made in (small, full))
    text = (
        f"{name(small.run)}: PPL {q4:.4f}, {q4 / fp16:.4f} times the {fp16:.4f} of {name(full.run)}, "
        f"over {small.facts['val_tokens']:,} tokens"
    )
    ids = [made.run.manifest.id for made in (small, full)]
    return judged(q4 < RATIO * fp16, text, evaluations=ids, ppl_q4=q4, ppl_fp16=fp16)
