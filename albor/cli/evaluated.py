"""What evaluations in the store say of the compared models: figures, samples, rungs, and problem by problem."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.choosing import NO_MODEL, Library
from albor.cli.entries import held_out
from albor.runs.lineage import input_path
from albor.runs.manifest import EXTERNAL
from albor.runs.store import Run

if TYPE_CHECKING:
    from albor.audit.evaluations import Evaluation
    from albor.report.comparison.model import Entry, Evaluated, Pairing
    from albor.report.comparison.model import Path as Rungs
    from albor.report.comparison.whole import Comparison

PAIRED = 12
"""Groups that are held against the reference problem by problem: each takes a second."""
RUNGS = 8
"""Ladders in one picture."""


class Evaluations:
    """The newest finished evaluation of every model in the store."""

    def __init__(self, library: Library) -> None:
        from albor.audit.evaluations import Evaluation

        self.library = library
        generated = {run.manifest.id: run for run in library.evaluating if run.manifest.stage == "generate"}
        self.by_model: dict[str, Evaluation] = {}
        for run in library.evaluating:
            if run.manifest.stage == "eval" and run.manifest.status == "done":
                given = run.manifest.inputs.get("generations")
                said = generated.get(given.id) if given else None
                if said is not None and "model" in said.manifest.inputs:
                    self.by_model[said.manifest.inputs["model"].id] = Evaluation(run, said)

    def of(self, model: str) -> Evaluated | None:
        """What the evaluation of a model's run says."""
        from albor.report.comparison.model import Evaluated
        from albor.report.made import shares

        found = self.by_model.get(model)
        if found is None:
            return None
        facts, rows = found.facts, self.library.made(found.generations).get("rows")
        limit = found.generations.manifest.config.get("eval", {}).get("max_rows")
        return Evaluated(
            name=found.name,
            rows=" ".join([*held_out(rows, found.rows), str(limit)]) if found.rows else "",
            val_loss=facts.get("val_loss"),
            val_ppl=facts.get("val_ppl"),
            bits_per_byte=facts.get("val_bits_per_byte"),
            scores=list(shares(facts)),
            samples=samples(found.run.artifact / "samples.jsonl"),
        )

    def into(self, entries: Sequence[Entry]) -> list[Entry]:
        """The entries, each with its model's evaluation."""
        return [replace(entry, evaluation=self.of(entry.id)) for entry in entries]

    def model(self, found: Evaluation) -> Run | None:
        """The run that made an evaluated model; None when it is gone, or is none of albor's."""
        ref = found.model
        place = input_path(found.generations.directory, ref).parent
        made = None if ref.stage in EXTERNAL else self.library.get(place)
        return Run(place, made) if made else None


def samples(path: Path) -> list[tuple[str, str]]:
    """(prompt, completion) of each sample."""
    lines = path.read_text(encoding="utf-8").split("\n") if path.exists() else []
    return [(sample["prompt"], sample["completion"]) for sample in map(json.loads, filter(None, lines))]


def paths(evaluations: Evaluations, entries: Sequence[Entry]) -> list[Rungs]:
    """The ladders of evaluated models that compared runs stand on, first rung to last; those with most rungs."""
    from albor.report.comparison.model import Path as Rungs

    compared = {entry.id: entry for entry in entries}
    models = {id_: run for id_, found in evaluations.by_model.items() if (run := evaluations.model(found)) is not None}
    names = rung_names(evaluations.library)
    ways = {id_: _way(evaluations.library, run) for id_, run in models.items()}
    inner = {step.manifest.id for id_, way in ways.items() for step in way if step.manifest.id != id_}
    found = []
    for id_, way in ways.items():
        rungs = [run for run in way if run.manifest.id in models]
        members = [run.manifest.id for run in rungs if run.manifest.id in compared]
        if id_ in inner or len(rungs) < 2 or not members:
            continue
        told = [(names.get(run.manifest.id, run.manifest.stage), evaluations.of(run.manifest.id)) for run in rungs]
        label = f"{rungs[-1].manifest.stage}/{rungs[-1].directory.name}"
        found.append(Rungs(label, [(name, said) for name, said in told if said], members))
    return sorted(found, key=lambda path: -len(path.rungs))[:RUNGS]


def _way(library: Library, run: Run) -> list[Run]:
    """The models that a model was made from, the first one first: of several parents the one with the longest way."""
    parents = [made for name, made in library.made(run).items() if name not in NO_MODEL]
    before = max((_way(library, parent) for parent in parents), key=len, default=[])
    return [*before, run]


def rung_names(library: Library) -> dict[str, str]:
    """Run id to the rung that a ladder calls it."""
    found: dict[str, str] = {}
    for ladder in library.stage("ladder"):
        rungs = ladder.manifest.facts.get("rungs", {})
        found |= {said["run_id"]: name for name, said in rungs.items() if "run_id" in said}
    return found


def pairings(evaluations: Evaluations, comparison: Comparison) -> list[Pairing]:
    """A run of each group against one of the reference (the first with an evaluation, where nothing is ranked):
    benchmark problems, and validation rows where both read the same."""
    from albor.evals import problems
    from albor.report.comparison.model import ROWS, Pairing

    measured = {
        place: entry
        for place, group in enumerate(comparison.groups)
        if (entry := next((e for e in group.by_seed().values() if e.id in evaluations.by_model), None)) is not None
    }
    able = [place for place in comparison.order if place in measured]
    if len(able) < 2:
        return []
    reference = comparison.ranking.reference
    base = able[0] if reference is None or reference not in measured else reference
    other = measured[base]
    theirs, against = evaluations.by_model[other.id], comparison.groups[base].label
    losses = problems.row_losses(theirs.generations.artifact / "rows.jsonl")
    found = []
    for place in [place for place in able if place != base][:PAIRED]:
        entry, label = measured[place], comparison.groups[place].label
        ours = evaluations.by_model[entry.id]
        if entry.evaluation and other.evaluation and entry.evaluation.rows == other.evaluation.rows:
            own = problems.row_losses(ours.generations.artifact / "rows.jsonl")
            if (test := problems.compare_rows(losses, own)) is not None:
                found.append(Pairing(group=label, against=against, task=ROWS, count=test.count,
                                     difference=test.mean, low=test.low, high=test.high, p=test.two_sided,
                                     unit="nats", better=-1))  # fmt: skip
        tasks = sorted(ours.facts.get("scores", {}).keys() & theirs.facts.get("scores", {}).keys())
        for shared in problems.compare(theirs.run.artifact, ours.run.artifact, tasks):
            test = shared.test
            found.append(Pairing(group=label, against=against, task=shared.task, count=shared.count,
                                 difference=100 * test.mean, low=100 * test.low, high=100 * test.high,
                                 p=test.two_sided, unit="%", better=1))  # fmt: skip
    return found
