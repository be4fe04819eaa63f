"""What is known of a run that is being watched: its manifest, its metrics so far, whether it lives."""

from __future__ import annotations

import math
import statistics
import time
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from albor.config.sections import Structurer
from albor.contracts import Case
from albor.contracts.base import TRAINING
from albor.errors import AlborError
from albor.runs import evaluations, manifest
from albor.runs.lineage import input_path
from albor.runs.manifest import Manifest
from albor.runs.store import holder, lives
from albor.runs.tail import Tail
from albor.stages import base as stages

SILENCE = 300.0
"""Seconds without a line after which a training run is taken for dead or hung."""
CURVES = ("loss", "val_loss", "grad_norm", "tokens_per_second")
"""Metrics whose whole history is kept."""
RECENT = 20
"""Steps that the estimate of the time left looks back on."""
ENDED = ("done", "failed", "interrupted")


@dataclass
class Curve:
    """A metric over the steps. A step that comes again, after a resume, takes the place of all from there on."""

    steps: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def put(self, step: int, value: float) -> None:
        self.cut(step - 1)
        self.steps.append(step)
        self.values.append(value)

    def cut(self, step: int) -> None:
        """Forgets what comes after ``step``."""
        keep = bisect_right(self.steps, step)
        del self.steps[keep:], self.values[keep:]


@dataclass(frozen=True)
class Said:
    """An alert or a diagnosis."""

    step: int
    name: str
    message: str


@dataclass
class Metrics:
    """The numbers of a run, line by line."""

    step: int = 0
    time: float | None = None
    """When the last line was written."""
    latest: dict[str, float] = field(default_factory=dict)
    curves: dict[str, Curve] = field(default_factory=lambda: {name: Curve() for name in CURVES})
    said: list[Said] = field(default_factory=list)

    def take(self, line: Mapping[str, Any]) -> None:
        numbers = {k: v for k, v in line.items() if is_number(v)}
        self.time = numbers.pop("time", self.time)
        step = int(numbers.pop("step", self.step))
        if "alert" in line:
            self.said.append(Said(step, str(line["alert"]), str(line.get("message", ""))))
            return
        if "val_loss" not in line:
            if step <= self.step:
                self._rewind(step)
            self.step = step
        self.latest |= numbers
        for name, curve in self.curves.items():
            if name in numbers:
                curve.put(step, numbers[name])

    def _rewind(self, step: int) -> None:
        """A resumed run does the steps after its checkpoint again."""
        for curve in self.curves.values():
            curve.cut(step)
        self.said = [said for said in self.said if said.step < step]


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Watch:
    """A run as of the last ``poll``."""

    def __init__(self, directory: Path) -> None:
        """Raises AlborError for what is no run directory."""
        self.directory = directory
        self.run: Manifest = manifest.load(directory)
        self.total: int | None = None
        self.metrics = Metrics()
        self.evaluations: list[dict[str, Any]] = []
        """What `albor watch` found of its checkpoints, oldest first."""
        self._tail = Tail(directory)
        self._stamp: int | None = None

    def poll(self) -> None:
        """Reads what has been written since. The manifest comes first: a run that it calls ended has no line to add."""
        stamp = (self.directory / manifest.NAME).stat().st_mtime_ns
        if stamp != self._stamp:
            self._stamp, self.run = stamp, manifest.load(self.directory)
            self.total = total_steps(self.directory, self.run)
        anew, lines = self._tail.poll()
        if anew:
            self.metrics = Metrics()
        for line in lines:
            self.metrics.take(line)
        self.evaluations = evaluations.read(self.directory)

    @property
    def ended(self) -> bool:
        return self.run.status in ENDED

    def silent(self, now: float) -> float | None:
        """Seconds since the last line, or since the start while there is none."""
        times = [t for t in (self.metrics.time, self.run.started) if t is not None]
        return max(0.0, now - max(times)) if times else None

    def elapsed(self, now: float) -> float | None:
        if self.run.started is None:
            return None
        end = self.run.finished if self.ended else now
        return max(0.0, (end or now) - self.run.started)

    def left(self) -> float | None:
        """Seconds until the last step, by the latest throughput; None where it cannot be told."""
        rates = self.metrics.curves["tokens_per_second"].values[-RECENT:]
        step, tokens = self.metrics.step, self.metrics.latest.get("tokens")
        if self.ended or lives(self.directory, self.run) is False or not (self.total and rates and step and tokens):
            return None
        return max(0, self.total - step) * (tokens / step) / statistics.median(rates)

    def verdict(self, now: float | None = None) -> str:
        """How the run is: running, done, failed with its cause, interrupted, dead, or silent."""
        if self.run.status == "failed":
            return f"failed: {str(self.run.error).splitlines()[0]}"
        if self.run.status != "running":
            return {"planned": "planned, not started"}.get(self.run.status, self.run.status)
        alive = lives(self.directory, self.run)
        if alive is False:
            return f"dead: its process {holder(self.directory)} is gone; the same command resumes"
        silent = self.silent(time.time() if now is None else now) or 0.0
        if silent >= SILENCE and (self.run.stage in TRAINING or alive is None):
            hung = "dead or hung" if alive is None else "hung"
            return f"no heartbeat for {int(silent // 60)} min: {hung}"
        return "running"


def total_steps(directory: Path, run: Manifest) -> int | None:
    """Steps of a training run, from its config and what its inputs say; None for other stages."""
    if run.stage not in TRAINING:
        return None
    config, _ = Structurer()(run.config, stages.find(run.stage).config)
    if config is None:
        return None
    facts = {}
    for name, ref in run.inputs.items():
        if ref.stage not in manifest.EXTERNAL:
            try:
                facts[name] = manifest.load(input_path(directory, ref).parent).facts
            except AlborError:
                continue  # what a run was made from may be gone
    return Case(config, run.stage, facts).budget.actual or None
