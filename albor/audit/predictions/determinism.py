"""FALSIFY-ALBOR-003: checkpoints are deterministic."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

from albor.audit.predictions.base import Judgment, Material, judged, name, prediction, untested
from albor.config.location import short
from albor.contracts.base import TRAINING
from albor.runs import manifest
from albor.runs.checkpoints import DIRECTORY, MODEL, numbered
from albor.runs.files import sha256_file
from albor.runs.store import Run

SEED = 42
STEP = 1_000
AGAIN = "again"
"""Directory of a second store, below the first, that the proposed command makes."""


@prediction(
    3,
    "checkpoints are deterministic",
    f"two deterministic runs of seed {SEED}, made apart, have byte-identical weights at step {STEP:,}",
    TRAINING,
)
def determinism(material: Material) -> Judgment:
    suitable = [run for run in material.of(*TRAINING) if deterministic(run)]
    for a, b in pairs(material, suitable):
        left, right = weights(a), weights(b)
        common = left.keys() & right.keys()
        if not common:
            continue
        step = STEP if STEP in common else max(common)
        one, other = sha256_file(left[step]), sha256_file(right[step])
        text = f"{name(a)} in {place(a)} and in {place(b)}: weights of step {step:,}, SHA-256 "
        text += f"{one[:16]}… in both" if one == other else f"{one[:16]}… and {other[:16]}…"
        if step != STEP:
            text += f"; the verdict is about their last common step, because not both keep step {STEP:,}"
        return judged(one == other, text, run=a.manifest.id, step=step, sha256=[one, other])
    again = short(material.root / AGAIN)
    if not suitable:
        why = f"{material.no_run} has seed {SEED} and trainer.deterministic=true"
        keys = f"seed={SEED} trainer.deterministic=true trainer.max_steps={STEP} trainer.epochs=100"
        return untested(why, f"python -m albor stage=pretrain {keys}, and once more with outputs={again}")
    newest = suitable[0]
    words = [word for word in newest.manifest.command.split() if not word.startswith("outputs=")]
    why = f"{name(newest)} was made once: no run of its id lies in another store"
    return untested(why, f"{' '.join(words)} outputs={again}", run=newest.manifest.id)


def place(run: Run) -> str:
    """The store that a run lies in."""
    return short(run.directory.parents[1])


def deterministic(run: Run) -> bool:
    config = run.manifest.config
    return bool(config["seed"] == SEED and config["trainer"]["deterministic"])


def pairs(material: Material, suitable: list[Run]) -> Iterator[tuple[Run, Run]]:
    """Runs of one id that were made apart: of those that were named, or one of them and its twin in a second store
    below the first. A copy of a directory started when its original did."""
    twins = [(run, twin) for run in suitable for twin in twins_of(material.root, run)]
    for a, b in [*combinations(suitable, 2), *twins]:
        if a.manifest.id == b.manifest.id and a.manifest.started != b.manifest.started:
            yield a, b


def twins_of(root: Path, run: Run) -> list[Run]:
    found = sorted(root.glob(f"*/{run.manifest.stage}/*-{run.manifest.id}/{manifest.NAME}"))
    return [Run(path.parent, manifest.load(path.parent)) for path in found]


def weights(run: Run) -> dict[int, Path]:
    """Step to the file with its weights: the checkpoints', and the artifact's for the last step."""
    found = {step: path / MODEL for step, path in numbered(run.directory / DIRECTORY)}
    if run.manifest.status == "done" and "steps" in run.manifest.facts:
        found.setdefault(int(run.manifest.facts["steps"]), run.artifact / MODEL)
    return {step: path for step, path in found.items() if path.is_file()}
