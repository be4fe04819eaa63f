"""Alerts: conditions on metrics, watched while a model trains."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from albor.config.schema.alerts import Alert, Sampled
from albor.training.errors import TrainingError

EMA_STEPS = 100
"""Values that a running mean reaches back: it moves by 2/(n+1) of the way to each new value."""
SAMPLED = get_args(Sampled)


@dataclass(frozen=True)
class Fired:
    """An alert whose condition has come true."""

    name: str
    alert: Alert
    step: int
    """The last step done."""
    value: float
    message: str
    """The metric, its value and the threshold, in a sentence."""

    def error(self) -> TrainingError:
        """How a stop alert ends the run."""
        return TrainingError(
            f"the alert '{self.name}' stopped the run at step {self.step}: {self.message}",
            help="the same command resumes from the last checkpoint, if there is one; it stops here again unless "
            f"something is changed: lower optim.lr, move the threshold (alerts.{self.name}={{…}}), or leave the alert "
            f"out (alerts.{self.name}=null if a config file has it)",
        )


@dataclass
class Episode:
    """Since when an alert's condition holds without a break."""

    values: int = 0
    since: float = 0.0
    fired: bool = False


@dataclass
class Alerts:
    """Watches metrics as they come, from the training loop and from threads.

    ``notify`` is told of every alert that fires, in the thread that brought the value. A run without alerts costs
    nothing.
    """

    alerts: Mapping[str, Alert | None]
    notify: Callable[[Fired], None]
    clock: Callable[[], float] = time.monotonic
    step: int = 0
    """The last step seen."""
    _means: dict[str, float] = field(default_factory=dict)
    _episodes: dict[str, Episode] = field(default_factory=dict)
    _stop: Fired | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, metrics: Mapping[str, float]) -> Fired | None:
        """Takes the values of one moment; ``step`` among them says which. Gives the first alert that wants the run to
        stop, also one that another thread has seen. Values that are not finite are the trainer's own to refuse."""
        with self._lock:
            self.step = int(metrics.get("step", self.step))
            finite = {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
            fired = [f for name, alert in self._watched(finite) if (f := self._look(name, alert, finite[alert.metric]))]
            self._average(finite)
            self._stop = self._stop or next((f for f in fired if f.alert.action == "stop"), None)
        for alert in fired:
            self.notify(alert)
        return self._stop

    def _watched(self, metrics: Mapping[str, float]) -> list[tuple[str, Alert]]:
        return [(name, alert) for name, alert in self.alerts.items() if alert and alert.metric in metrics]

    def _look(self, name: str, alert: Alert, value: float) -> Fired | None:
        if self.step < alert.from_step:
            return None
        mean = self._means.get(alert.metric, value) if alert.times_ema else None
        wrong = broken(alert, value, mean)
        if wrong is None:
            self._episodes.pop(name, None)
            return None
        episode = self._episodes.setdefault(name, Episode(since=self.clock()))
        episode.values += 1
        lasted = self.clock() - episode.since
        if episode.fired or episode.values < alert.for_steps or lasted < alert.for_seconds:
            return None
        episode.fired = True
        return Fired(name, alert, self.step, value, f"{wrong}{duration(alert)}")

    def _average(self, metrics: Mapping[str, float]) -> None:
        for metric in {alert.metric for _, alert in self._watched(metrics) if alert.times_ema}:
            before = self._means.get(metric, metrics[metric])
            self._means[metric] = before + 2 / (EMA_STEPS + 1) * (metrics[metric] - before)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps (JSON): running means, and which conditions hold. Not what is sampled by the clock: a
        resumed process starts looking anew."""
        with self._lock:
            kept = {n for n, alert in self.alerts.items() if alert and alert.metric not in SAMPLED}
            return {
                "means": {metric: mean for metric, mean in self._means.items() if metric not in SAMPLED},
                "episodes": {n: [e.values, e.fired] for n, e in self._episodes.items() if n in kept},
            }

    def load(self, state: Mapping[str, Any]) -> None:
        """Goes on from ``state()``; alerts may have been added, changed or removed in between."""
        with self._lock:
            self._means = dict(state["means"])
            self._episodes = {
                name: Episode(values, self.clock(), fired)
                for name, (values, fired) in state["episodes"].items()
                if self.alerts.get(name)
            }


def broken(alert: Alert, value: float, mean: float | None) -> str | None:
    """What is wrong with the value, in words; None when nothing is. ``mean`` scales the thresholds if it is given."""
    for limit, word, beyond in ((alert.above, "above", 1), (alert.below, "below", -1)):
        if limit is None:
            continue
        threshold = limit if mean is None else limit * mean
        if beyond * (value - threshold) > 0:
            of = "" if mean is None else f" = {limit:g} × its running mean {mean:.4g}"
            return f"{alert.metric} {value:.4g} is {word} {threshold:.4g}{of}"
    return None


def duration(alert: Alert) -> str:
    """How long it took to count, in words; nothing for alerts that fire at once."""
    parts = [f"{alert.for_steps:,} times in a row"] if alert.for_steps > 1 else []
    parts += [f"for {alert.for_seconds:g} seconds"] if alert.for_seconds else []
    return "".join(f", {part}" for part in parts)
