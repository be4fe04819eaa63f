"""FALSIFY-ALBOR-005: distillation helps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested
from albor.errors import AlborError
from albor.runs.store import Run

STAGE = "distill"
LEVEL = 0.05
MEASURES: Mapping[str, tuple[str, str, int]] = {
    "bits per byte": ("documents.jsonl", "bits_per_byte", -1),
    "FIM exact match": ("fim.jsonl", "exact", 1),
}
"""Measure to the file of an evaluation that has a line for every item (with its ``id``), the value's key there, and
whether more of it is better (1) or worse (-1)."""


@prediction(
    5,
    "distillation helps",
    f"distill beats base, paired over held-out documents (bits per byte) and FIM items, p < {LEVEL} each",
    (STAGE,),
)
def distillation(material: Material) -> Judgment:
    command = f"python -m albor stage=eval stage.of={STAGE}"
    why = f"{material.no_run} distils"
    for run in material.of(STAGE):
        base = run.manifest.inputs.get("init_from")
        if base is None:
            why = f"{name(run)} did not start from a base model, so there is none to beat"
            continue
        after, before = (material.evaluations(model) for model in (run.manifest.id, base.id))
        if not after or not before:
            why = f"{name(run)} or its base {base.id} is not evaluated"
            continue
        return compared(run, after, before, command)
    return untested(why, command)


def compared(run: Run, after: list[Run], before: list[Run], command: str) -> Judgment:
    from albor.evals.paired import paired

    parts, numbers, holds, missing = [], {}, True, []
    for title, (file, key, sign) in MEASURES.items():
        (ours, by), (theirs, base_by) = (newest(found, file, key) for found in (after, before))
        common = sorted(ours.keys() & theirs.keys())
        if len(common) < 2:
            missing.append(f"{title} ({file} of both evaluations)")
            continue
        found = paired([sign * ours[item] for item in common], [sign * theirs[item] for item in common])
        better = found.mean > 0 and found.greater < LEVEL
        holds &= better
        parts.append(
            f"{title} {sign * found.mean:+.4f} (95%: better by {found.low:.4f} to {found.high:.4f}), "
            f"p = {found.greater:.4f} over {found.count:,} items of {by} and {base_by}"
        )
        numbers[title] = asdict(found)
    text = f"{name(run)} against its base: {'; '.join(parts) or 'nothing to pair'}"
    if missing and holds:
        return untested(f"{text}; missing: {', '.join(missing)}", command, run=run.manifest.id, **numbers)
    return judged(holds, text, run=run.manifest.id, **numbers)


def newest(evaluations: list[Run], file: str, key: str) -> tuple[dict[str, float], str]:
    """Item to value of the newest evaluation that wrote them, and what it is called; empty when none did."""
    for run in evaluations:
        if found := values(run.artifact / file, key):
            return found, name(run)
    return {}, ""


def values(path: Path, key: str) -> dict[str, float]:
    """Item to value; none when the evaluation did not write them. Raises AlborError."""
    if not path.exists():
        return {}
    try:
        lines: list[dict[str, Any]] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        return {str(line["id"]): float(line[key]) for line in lines}
    except (ValueError, KeyError, TypeError) as error:
        raise AlborError(f"a line cannot be read: {error}", "evaluate again", place=str(path)) from None
