"""Evaluations of a model: the run that judged, and the one whose completions and losses it judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from albor.runs.manifest import InputRef
from albor.runs.store import Run


@dataclass(frozen=True)
class Evaluation:
    run: Run
    """Of the stage eval."""
    generations: Run
    """Of the stage generate: it had the model."""

    @property
    def name(self) -> str:
        return self.run.directory.name

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.run.manifest.facts

    @property
    def model(self) -> InputRef:
        return self.generations.manifest.inputs["model"]

    @property
    def rows(self) -> InputRef | None:
        """The validation rows, when a task asked for them."""
        return self.generations.manifest.inputs.get("rows")

    @property
    def tasks(self) -> list[str]:
        return [task for task, spec in self.generations.manifest.config["task"].items() if spec is not None]


def evaluations(store: Sequence[Run], model: str) -> list[Evaluation]:
    """The finished ones of the model that the run of this id made, newest first."""
    made = {run.manifest.id: run for run in store if run.manifest.stage == "generate"}
    found = []
    for run in reversed(store):
        if run.manifest.stage == "eval" and run.manifest.status == "done":
            given = run.manifest.inputs.get("generations")  # an older albor's had none
            generations = made.get(given.id) if given else None
            asked = generations.manifest.inputs.get("model") if generations else None
            if generations and asked and asked.id == model:
                found.append(Evaluation(run, generations))
    return found
