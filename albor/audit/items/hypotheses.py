"""The predictions, judged on the release's own runs."""

from __future__ import annotations

from functools import partial

from albor.audit.facts import Facts
from albor.audit.item import Outcome, beside, holds, item, unknown
from albor.audit.predictions import PREDICTIONS


def verdict(number: int, facts: Facts) -> Outcome:
    prediction = PREDICTIONS[number]
    there = {run.manifest.stage for run in facts.lineage}
    if not there.intersection(prediction.stages):
        return beside(f"it is about {', '.join(prediction.stages)} runs, and none lies in the lineage")
    judgment = prediction.judge(facts.material)
    if judgment.verdict != "UNTESTED":
        return holds(judgment.verdict == "CORROBORATED", judgment.evidence)
    return unknown(f"{judgment.evidence}; tested by `{judgment.command}`")


for number in sorted(PREDICTIONS):
    found = PREDICTIONS[number]
    item(f"A-HYP-{number:03d}", f"{found.id}: {found.title}", severity="major")(partial(verdict, number))
