"""What a prediction is: a number, what must hold, and a function from the runs there are to a judgment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from albor.audit.evaluations import Evaluation, evaluations
from albor.runs.metrics import NAME as METRICS
from albor.runs.store import Run

Verdict = Literal["CORROBORATED", "FALSIFIED", "UNTESTED"]
PREFIX = "FALSIFY-ALBOR-"


@dataclass(frozen=True)
class Judgment:
    """What the runs say of a prediction."""

    verdict: Verdict
    evidence: str
    """What was looked at and what it came to, with the numbers that decided."""
    numbers: Mapping[str, Any] = field(default_factory=dict)
    """The same as plain values: run ids, steps, hashes, figures."""
    command: str | None = None
    """Of an untested prediction, the command whose run would test it."""


def judged(holds: bool, evidence: str, **numbers: Any) -> Judgment:
    return Judgment("CORROBORATED" if holds else "FALSIFIED", evidence, numbers)


def untested(why: str, command: str, **numbers: Any) -> Judgment:
    return Judgment("UNTESTED", why, numbers, command)


@dataclass(frozen=True)
class Material:
    """What predictions are judged on."""

    root: Path
    """The store."""
    runs: Sequence[Run]
    """Oldest first: those that were named, else every run of the store."""
    named: bool = False
    models: Sequence[Path] = ()
    """Model directories that were named and are no run."""
    store: Sequence[Run] = ()
    """Every run of the store, where evaluations of the named ones are found."""

    @property
    def no_run(self) -> str:
        """How a sentence begins that says what there is none of."""
        return "none of the runs that were named" if self.named else "no run"

    def of(self, *stages: str) -> list[Run]:
        """The runs of these stages, newest first. Those that were not asked for by name count only when done."""
        found = [run for run in self.runs if run.manifest.stage in stages]
        return [run for run in reversed(found) if self.named or run.manifest.status == "done"]

    def logged(self, *stages: str) -> list[Run]:
        """Those that have metrics."""
        return [run for run in self.of(*stages) if (run.directory / METRICS).exists()]

    def evaluations(self, model: str) -> list[Evaluation]:
        """The finished evaluations of the model that the run of this id made, newest first."""
        return evaluations(self.store, model)


Judge = Callable[[Material], Judgment]


@dataclass(frozen=True)
class Prediction:
    """Something albor says about its own runs, in a form that a run can refute."""

    number: int
    title: str
    condition: str
    """What must hold."""
    stages: tuple[str, ...]
    """The stages whose runs it is about."""
    judge: Judge

    @property
    def id(self) -> str:
        return f"{PREFIX}{self.number:03d}"


PREDICTIONS: dict[int, Prediction] = {}


def prediction(number: int, title: str, condition: str, stages: tuple[str, ...]) -> Callable[[Judge], Judge]:
    """Registers a judge as the prediction ``number``."""

    def register(judge: Judge) -> Judge:
        assert number not in PREDICTIONS, f"{number} is defined twice"
        PREDICTIONS[number] = Prediction(number, title, condition, stages, judge)
        return judge

    return register


def name(run: Run) -> str:
    return f"{run.manifest.stage}/{run.directory.name}"
