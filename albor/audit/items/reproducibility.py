"""Numerical reproducibility: whether what was made is what was recorded, and could be made again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from albor.audit.corpus import read_json
from albor.audit.facts import Facts
from albor.audit.item import Outcome, beside, holds, item, listed
from albor.runs.checkpoints import STATE
from albor.runs.manifest import EXTERNAL, artifact_digest

if TYPE_CHECKING:
    from albor.training.checkpoint.verify import Check

NON_FINITE = "non-finite"
"""Name of the alert, and of the directory, of steps that were skipped."""


@item("A-REP-01", "Every run of the lineage is done", severity="critical")
def done(facts: Facts) -> Outcome:
    bad = [f"{run.directory.name} is {run.manifest.status}" for run in facts.lineage if run.manifest.status != "done"]
    return holds(not bad, listed(bad) or ", ".join(run.manifest.stage for run in facts.lineage))


@item("A-REP-02", "The lineage is complete", severity="major")
def complete(facts: Facts) -> Outcome:
    refs = [(run, name, ref) for run, name, ref in facts.inputs() if ref.stage not in EXTERNAL]
    gone = [
        f"{name} of {run.directory.name} ({ref.stage} {ref.id})" for run, name, ref in refs if not facts.maker(run, ref)
    ]
    return holds(
        not gone, f"gone: {listed(gone)}" if gone else f"{len(refs)} inputs of {len(facts.lineage)} runs are there"
    )


@item("A-REP-03", "Every artifact has the bytes that were recorded", severity="critical")
def artifacts(facts: Facts) -> Outcome:
    sizes = [known.bytes for run in facts.lineage for known in run.manifest.files.values()]
    text = listed(facts.damage) or f"{len(sizes)} files, {sum(sizes):,} bytes, hashed again"
    return holds(not facts.damage and bool(sizes), text)


@item("A-REP-04", "Every input is the artifact that was taken", severity="critical")
def digests(facts: Facts) -> Outcome:
    bad = [f"{run.directory.name}: its files do not give its digest" for run in facts.lineage
           if run.manifest.digest != artifact_digest(run.manifest.files)]  # fmt: skip
    count = 0
    for run, name, ref in facts.inputs():
        maker = facts.maker(run, ref)
        count += maker is not None
        if maker is not None and (ref.id, ref.digest) != (maker.manifest.id, maker.manifest.digest):
            bad.append(f"{name} of {run.directory.name} was built again and is another")
    return holds(not bad, listed(bad) or f"{count} inputs have the digest that their runs recorded")


@item("A-REP-05", "Inputs from outside are known by their bytes", severity="major")
def outside(facts: Facts) -> Outcome:
    found = [
        (f"{name} of {run.directory.name}: {ref.id}", ref) for run, name, ref in facts.inputs() if ref.stage in EXTERNAL
    ]
    if not found:
        return beside("every input was made by a run of the lineage")
    bad = [text for text, ref in found if ref.digest is None]
    loose = f"{listed(bad)}: known by name, or by sizes and times, and by no hash"
    return holds(not bad, loose if bad else listed([text for text, _ in found]))


@item("A-REP-06", "The model is whole and was trained", severity="critical")
def model(facts: Facts) -> Outcome:
    return checked(facts.model_checks)


@item("A-REP-07", "The newest checkpoint is whole and can be resumed from", severity="major")
def checkpoint(facts: Facts) -> Outcome:
    from albor.training.checkpoint.verify import verify_checkpoint

    if not facts.checkpoints:
        return beside("the run keeps no checkpoint")
    newest = facts.checkpoints[0]
    outcome = checked(list(verify_checkpoint(newest, facts.training.manifest.config)))
    return Outcome(outcome.verdict, f"{newest.name}: {outcome.evidence}")


def checked(checks: Sequence[Check]) -> Outcome:
    bad = [f"{check.name}: {check.text}" for check in checks if not check.ok]
    return holds(not bad, listed(bad) or f"{', '.join(check.name for check in checks)} hold")


@item("A-REP-08", "One seed reaches the whole lineage", severity="minor")
def seed(facts: Facts) -> Outcome:
    seeds = {run.manifest.config.get("seed") for run in facts.lineage}
    return holds(len(seeds) == 1 and None not in seeds, f"seed {', '.join(map(str, seeds))}")


@item("A-REP-09", "Training repeats its bits", severity="minor")
def deterministic(facts: Facts) -> Outcome:
    trainer = facts.settings.trainer
    text = f"trainer.deterministic={str(trainer.deterministic).lower()} on {trainer.accelerator}"
    return holds(trainer.deterministic or trainer.accelerator == "cpu", text)


def recorded(facts: Facts, key: str, what: str) -> Outcome:
    """Whether the environment of every run names something."""
    without = [run.manifest.stage for run in facts.lineage if run.manifest.environment.get(key) is None]
    values = sorted(
        {str(value)[:12] for run in facts.lineage if (value := run.manifest.environment.get(key)) is not None}
    )
    return holds(not without, f"no {what}: {', '.join(without)}" if without else f"{what} {', '.join(values)}")


@item("A-REP-10", "The commit of the code is recorded", severity="major")
def commit(facts: Facts) -> Outcome:
    return recorded(facts, "git_commit", "commit")


@item("A-REP-11", "The code was as committed", severity="major")
def clean(facts: Facts) -> Outcome:
    states = {run.manifest.stage: run.manifest.environment.get("git_dirty") for run in facts.lineage}
    bad = [stage for stage, state in states.items() if state is not False]
    return holds(not bad, f"changed or not known: {', '.join(bad)}" if bad else f"of all {len(states)} runs")


@item("A-REP-12", "The lock file is recorded", severity="minor")
def lock(facts: Facts) -> Outcome:
    return recorded(facts, "lock_sha256", "requirements.lock")


@item("A-REP-13", "One version of Python and torch made it", severity="minor")
def environment(facts: Facts) -> Outcome:
    found = {tuple(str(run.manifest.environment.get(key)) for key in ("python", "torch")) for run in facts.lineage}
    return holds(len(found) == 1, "; ".join(f"Python {python}, torch {torch}" for python, torch in sorted(found)))


@item("A-REP-14", "No step was skipped for a value that is not finite", severity="major")
def skipped(facts: Facts) -> Outcome:
    alerts = {entry.get("step") for entry in facts.log.entries if entry.get("alert") == NON_FINITE}
    dumped = len(list((facts.training.directory / NON_FINITE).glob("*.safetensors")))
    states = [read_json(path / STATE) for path in facts.checkpoints[:1]]
    counted = max((int(state.get("recorder", {}).get("non_finite", 0)) for state in states), default=0)
    text = f"{len(alerts)} alerts, {dumped} batches kept, {counted} counted by the newest checkpoint"
    return holds(not (alerts or dumped or counted), text)


@item("A-REP-15", "Every recorded number is finite", severity="critical")
def finite(facts: Facts) -> Outcome:
    found = list(facts.log.not_finite())
    return holds(not found, listed(found) or f"{len(facts.log.entries):,} lines of metrics")


@item("A-REP-16", "What was trained again came to the same", severity="major")
def again(facts: Facts) -> Outcome:
    log, trainer = facts.log, facts.settings.trainer
    if not log.repeated:
        return beside("no step was trained twice")
    differing = list(log.differing())
    if differing and trainer.accelerator == "cuda" and not trainer.deterministic:
        return beside(f"{log.repeated:,} steps, on a GPU without trainer.deterministic=true: bits may differ")
    text = f"{log.repeated:,} steps, {listed([f'from {a:,} back to {b:,}' for a, b in log.rewinds])}"
    return holds(not differing, f"{text}; another: {listed(differing)}" if differing else f"{text}, equal to the bit")


@item("A-REP-17", "Every planned step was trained", severity="critical")
def planned(facts: Facts) -> Outcome:
    run = facts.training
    wanted, steps = facts.case(run).budget.actual, run.manifest.facts.get("steps")
    last = facts.log.steps[-1]["step"]
    return holds(steps == wanted == last, f"{wanted:,} planned, {steps} in the facts, {last:,} the last one logged")
