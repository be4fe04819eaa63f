"""FALSIFY-ALBOR-005: distillation helps."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

from albor.audit.evaluations import Evaluation
from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested
from albor.errors import AlborError
from albor.runs.store import Run
from albor.stages.generate import ROWS

STAGE = "distill"
LEVEL = 0.05
PROTOCOL = ("kind", "fim", "temperature", "top_p", "max_length", "max_new_tokens", "stop")
"""Of a task, what decides how hard it is."""
Values = Mapping[Hashable, float]


@prediction(
    5,
    "distillation helps",
    f"distill beats base, paired over held-out rows (bits per byte) and FIM items, p < {LEVEL} each",
    (STAGE,),
)
def distillation(material: Material) -> Judgment:
    command = f"python -m albor stage=eval eval.of={STAGE} task=[perplexity,fim_exact]"
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


def compared(run: Run, after: list[Evaluation], before: list[Evaluation], command: str) -> Judgment:
    from albor.evals.paired import paired

    parts, numbers, holds, missing, floor = [], {}, True, [], []
    for title, (values, sign) in MEASURES.items():
        pair = newest(after, before, values)
        if pair is None:
            missing.append(title)
            continue
        ours, theirs, names = pair
        common = [item for item in ours if item in theirs]
        if not any(ours[item] or theirs[item] for item in common):  # no difference could have shown
            none = f"{title}: 0 of {len(common):,} items by either of {names}"
            floor.append(f"{none}, which tells nothing until they are trained for longer")
            continue
        found = paired([sign * ours[item] for item in common], [sign * theirs[item] for item in common])
        better = found.mean > 0 and found.greater < LEVEL
        holds &= better
        parts.append(
            f"{title} {sign * found.mean:+.4f} (95%: better by {found.low:.4f} to {found.high:.4f}), "
            f"p = {found.greater:.4f} over {found.count:,} items of {names}"
        )
        numbers[title] = asdict(found)
    text = f"{name(run)} against its base: {'; '.join([*parts, *floor]) or 'nothing to pair'}"
    if holds and missing:
        text += f"; missing, of the same items in both evaluations: {', '.join(missing)}"
    if holds and (missing or floor):
        return untested(text, command, run=run.manifest.id, **numbers)
    return judged(holds, text, run=run.manifest.id, **numbers)


def newest(
    after: list[Evaluation], before: list[Evaluation], values: Callable[[Evaluation], Values]
) -> tuple[Values, Values, str] | None:
    """The values of the newest two evaluations that measured two of the same items; None when there are none."""
    ours, theirs = ([(made, values(made)) for made in evaluations] for evaluations in (after, before))
    for (a, of_a), (b, of_b) in product(ours, theirs):
        if len(of_a.keys() & of_b.keys()) > 1:
            return of_a, of_b, f"{name(a.run)} and {name(b.run)}"
    return None


def bits_per_byte(made: Evaluation) -> Values:
    """By row. A row is the same item where the rows, and how many of its tokens were predicted, are the same."""
    loss, bits = made.facts.get("val_loss"), made.facts.get("val_bits_per_byte")
    if made.rows is None or not loss or not bits:
        return {}
    rows, path = made.rows.id, made.generations.artifact / ROWS
    return {
        (rows, line["row"], line["tokens"]): line["nll"] / line["tokens"] * bits / loss
        for line in lines(path, "row", "nll", "tokens")
        if line["tokens"]
    }


def fim_exact(made: Evaluation) -> Values:
    """Share of completions that passed, by hole: the task, how it was asked, and what stands on either side."""
    passed: dict[Hashable, list[bool]] = defaultdict(list)
    for task in made.tasks:
        spec = made.generations.manifest.config["task"][task]
        asked = (task, *(str(spec.get(key)) for key in PROTOCOL))
        for line in lines(made.run.artifact / "generations" / f"{task}.jsonl", "problem", "prompt", "verdict"):
            if "suffix" in line:  # else it is no hole
                hole = (*asked, line["problem"], line["prompt"], line["suffix"])
                passed[hole].append(line["verdict"] == "passed")
    return {hole: sum(found) / len(found) for hole, found in passed.items()}


MEASURES: Mapping[str, tuple[Callable[[Evaluation], Values], int]] = {
    "bits per byte": (bits_per_byte, -1),
    "FIM holes passed": (fim_exact, 1),
}
"""Measure to what an evaluation says of each item, and whether more of it is better (1) or worse (-1)."""


def lines(path: Path, *keys: str) -> Iterator[Mapping[str, Any]]:
    """The lines of a file, each with these keys; none when there is no such file. Raises AlborError."""
    if not path.exists():
        return
    with path.open(encoding="utf-8") as file:
        for text in file:
            try:
                line = json.loads(text)
                missing = [key for key in keys if key not in line]
            except (ValueError, TypeError) as error:
                raise unreadable(path, str(error)) from None
            if missing:
                raise unreadable(path, f"it has no {missing[0]}")
            yield line


def unreadable(path: Path, cause: str) -> AlborError:
    return AlborError(f"a line cannot be read: {cause}", "evaluate again", place=str(path))
