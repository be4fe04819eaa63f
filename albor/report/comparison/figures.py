"""What runs are measured by: each figure is a column of the table, of one run or of a group's seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

import numpy as np

from albor.report.comparison.columns import Columns
from albor.report.comparison.model import Entry, Group
from albor.report.formats import duration, number, short
from albor.report.measures import known, percent

LAST = 50
"""Rows of training that the final training loss is the mean of."""
LOSS, BITS = "val_loss", "val_bits_per_byte"


@dataclass(frozen=True)
class Figure:
    """One number of a run."""

    key: str
    title: str
    of: Callable[[Entry], float | None]
    write: Callable[[float], str] = number
    unit: str = ""
    better: Literal[-1, 0, 1] = 0
    interval: Callable[[Entry], tuple[float, float] | None] = lambda entry: None
    """Its 95% interval, where one run's evaluation gives one."""


@dataclass(frozen=True)
class Stat:
    """A figure over the seeds of a group."""

    values: dict[str, float]
    """By seed."""
    interval: tuple[float, float] | None = None
    """Of the one run that there is."""

    @property
    def mean(self) -> float | None:
        return fmean(self.values.values()) if self.values else None

    @property
    def sd(self) -> float | None:
        """The standard deviation of a sample; None for one value."""
        return stdev(self.values.values()) if len(self.values) > 1 else None


def stat(figure: Figure, group: Group) -> Stat:
    entries = group.by_seed()
    found = {seed: value for seed, entry in entries.items() if known(value := figure.of(entry))}
    one = next(iter(entries.values())) if len(entries) == 1 else None
    return Stat(found, figure.interval(one) if one else None)


def text(figure: Figure, found: Stat) -> str:
    """``3.214 ± 0.011``, ``12.4 (9.1–16.0)``, or nothing."""
    if found.mean is None:
        return ""
    value = figure.write(found.mean)
    if found.sd:
        whole, _, decimals = value.partition(".")
        plain = (whole + decimals).lstrip("-").isdigit()
        return f"{value} ± {found.sd:.{len(decimals)}f}" if plain else f"{value} ± {figure.write(found.sd)}"
    return f"{value} ({'–'.join(map(figure.write, found.interval))})" if found.interval else value


def last(key: str) -> Callable[[Entry], float | None]:
    """The last value of a metric: as a finished run recorded it, else as it was logged."""
    return lambda entry: entry.finals.get(key, _end(entry.columns, key))


def disagreement(entry: Entry) -> str:
    """Where a finished run's log ends otherwise than the run did, by the first metric that tells; else nothing."""
    for key, recorded in entry.finals.items():
        logged = _end(entry.columns, key)
        if logged is not None and not math.isclose(logged, recorded, rel_tol=1e-6):
            write = whole if key == "tokens" else fine
            return f"{key} {write(logged)} in the log, {write(recorded)} recorded"
    return ""


def _end(columns: Columns, key: str) -> float | None:
    values = columns.series(key)[1]
    return float(values[-1]) if len(values) else None


def lowest(key: str) -> Callable[[Entry], float | None]:
    def of(entry: Entry) -> float | None:
        found = [*entry.columns.series(key)[1], *([entry.finals[key]] if key in entry.finals else [])]
        return float(min(found)) if found else None

    return of


def final_loss(entry: Entry) -> float | None:
    values = entry.columns.series("loss")[1]
    return float(values[-LAST:].mean()) if len(values) else None


def flops(entry: Entry) -> float | None:
    tokens = last("tokens")(entry)
    return None if tokens is None or entry.flops_per_token is None else tokens * entry.flops_per_token


def seconds(entry: Entry) -> float | None:
    """By the clock of the log where the run does not say: from its first line to its last."""
    if entry.seconds is not None:
        return entry.seconds
    times = entry.columns.series("time")[1]
    return float(times[-1] - times[0]) if len(times) else None


def speed(entry: Entry) -> float | None:
    values = entry.columns.series("tokens_per_second")[1]
    return float(np.median(values)) if len(values) else None


def fine(value: float) -> str:
    """A loss: differences between runs are in the third digit behind the point."""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 else number(value)


def flop_text(value: float) -> str:
    return f"{value:.3g}"


def whole(value: float) -> str:
    return short(round(value)) if math.isfinite(value) else number(value)


VAL_LOSS = Figure(LOSS, "val_loss", last(LOSS), fine, "nats", -1)
BITS_PER_BYTE = Figure(BITS, "bits/byte", last(BITS), fine, "", -1)
EVAL_LOSS = Figure(
    "eval_loss",
    "eval val_loss",
    lambda entry: entry.evaluation.val_loss if entry.evaluation else None,
    fine,
    "nats",
    -1,
)
FIGURES = (
    VAL_LOSS,
    Figure("best_val_loss", "best val_loss", lowest(LOSS), fine, "nats", -1),
    Figure("val_ppl", "val_ppl", last("val_ppl"), number, "", -1),
    BITS_PER_BYTE,
)
AFTER = (
    Figure("loss", "train loss", final_loss, fine, "nats"),
    Figure("tokens", "tokens", last("tokens"), whole),
    Figure("flops", "FLOPs", flops, flop_text),
    Figure("seconds", "time", seconds, duration),
    Figure("tokens_per_second", "tokens/s", speed, whole, "", 1),
)


def figures(entries: Sequence[Entry]) -> list[Figure]:
    """Those that at least one run has, in the order of the table's columns."""
    offered = [*FIGURES, *_evaluated(entries), *AFTER]
    return [figure for figure in offered if any(known(figure.of(entry)) for entry in entries)]


def _evaluated(entries: Sequence[Entry]) -> Iterator[Figure]:
    found = [entry.evaluation for entry in entries if entry.evaluation]
    yield EVAL_LOSS
    yield Figure("eval_ppl", "eval val_ppl", lambda e: e.evaluation.val_ppl if e.evaluation else None, better=-1)
    bits = "eval bits/byte"
    yield Figure("eval_bits", bits, lambda e: e.evaluation.bits_per_byte if e.evaluation else None, fine, better=-1)
    for task, metric in dict.fromkeys((score.task, score.metric) for one in found for score in one.scores):
        yield _benchmark(task, metric)


def _benchmark(task: str, metric: str) -> Figure:
    def score(entry: Entry) -> tuple[float, tuple[float, float]] | None:
        scores = entry.evaluation.scores if entry.evaluation else ()
        return next(((s.value, (s.low, s.high)) for s in scores if (s.task, s.metric) == (task, metric)), None)

    def value(entry: Entry) -> float | None:
        found = score(entry)
        return found[0] if found else None

    def interval(entry: Entry) -> tuple[float, float] | None:
        found = score(entry)
        return found[1] if found else None

    return Figure(f"{task} {metric}", f"{task} {metric}", value, percent, "%", 1, interval)
