"""What the rungs of a ladder are measured by: each is a column of the table, most are a panel of the picture."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeGuard

from albor.report.formats import duration, number, short, size
from albor.report.model import Score
from albor.report.trajectory import Rung, Trajectory

NOT_MEASURED = "not measured"
NOISE = 0.05
"""What times per token vary by, measured again on the same machine."""
Tone = Literal["better", "worse", ""]
Drawn = Literal["bars", "dots", ""]


def known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


@dataclass(frozen=True)
class Reading:
    """A measure on one rung; a ``value`` of None is "not measured"."""

    value: float | None
    low: float | None = None
    high: float | None = None
    """Ends of its 95% interval."""
    floor: float | None = None
    detail: str = ""
    """What the value depends on beside the rung: values of different details are not told better or worse."""

    @property
    def interval(self) -> tuple[float, float] | None:
        return (self.low, self.high) if known(self.low) and known(self.high) else None


@dataclass(frozen=True)
class Cell:
    """A reading for readers."""

    text: str
    measured: bool
    interval: str = ""
    detail: str = ""
    change: str = ""
    """Against the rung before."""
    tone: Tone = ""
    """Whether that is better or worse; empty where nothing says so."""
    best: bool = False
    """Of its column: no other rung's is better, as far as the text shows."""


@dataclass(frozen=True)
class Measure:
    """One measure on every rung."""

    title: str
    readings: Sequence[Reading]
    write: Callable[[float], str]
    metric: str = ""
    """Of a benchmark: what of it is counted."""
    unit: str = ""
    better: Literal[-1, 0, 1] = 0
    """1 where more is better, -1 where less is, 0 where neither."""
    in_points: bool = False
    """Changes are differences; otherwise they are in percent of the rung before."""
    noise: float = 0.0
    """Values that differ by no more than this share are not told better or worse."""
    drawn: Drawn = ""

    @property
    def name(self) -> str:
        return f"{self.title} {self.metric}".rstrip()

    @property
    def direction(self) -> str:
        return {-1: "lower is better", 0: "", 1: "higher is better"}[self.better]

    @property
    def values(self) -> list[float]:
        return [reading.value for reading in self.readings if known(reading.value)]

    @property
    def details(self) -> list[str]:
        """What the values depend on beside the rungs, each once."""
        return list(dict.fromkeys(reading.detail for reading in self.readings if known(reading.value)))

    @property
    def floors(self) -> list[float]:
        return sorted({reading.floor for reading in self.readings if known(reading.floor)})

    def cells(self) -> list[Cell]:
        best = self._best()
        changes = [("", ""), *(self._change(*pair) for pair in pairwise(self.readings))]
        return [
            self._cell(reading, best, change, tone)
            for reading, (change, tone) in zip(self.readings, changes, strict=False)  # no rung, no change
        ]

    def _cell(self, reading: Reading, best: str | None, change: str, tone: Tone) -> Cell:
        if reading.value is None:
            return Cell(NOT_MEASURED, measured=False)
        text = self.write(reading.value) if known(reading.value) else number(reading.value)
        ends = reading.interval
        return Cell(
            text=text,
            measured=True,
            interval="–".join(map(self.write, ends)) if ends else "",
            detail=reading.detail,
            change=change,
            tone=tone,
            best=text == best,
        )

    def _best(self) -> str | None:
        """The text of the best value, where there are several to choose from that can be compared."""
        texts = {self.write(value) for value in self.values}
        if not self.better or len(texts) < 2 or len(self.details) > 1:
            return None
        return self.write(max(self.values) if self.better > 0 else min(self.values))

    def _change(self, before: Reading, now: Reading) -> tuple[str, Tone]:
        if not (known(before.value) and known(now.value)) or not (self.better or self.drawn or self.in_points):
            return "", ""
        if now.value == before.value:
            return "same", ""
        if self.in_points:
            text = signed(now.value - before.value)
        elif before.value > 0:
            text = relative(now.value / before.value)
        else:
            return "", ""
        gain = (now.value - before.value) * self.better
        alike = abs(gain) <= self.noise * abs(before.value) or "±" in text or overlap(before, now)
        if alike or before.detail != now.detail:
            return text, ""
        return text, "better" if gain > 0 else "worse"


def overlap(one: Reading, other: Reading) -> bool:
    """Whether the intervals share a value: the difference may be chance. Readings without an interval do not."""
    a, b = one.interval, other.interval
    return a is not None and b is not None and a[0] <= b[1] and b[0] <= a[1]


def signed(gain: float, digits: int = 1) -> str:
    """``+1.3``, ``−0.4``, ``±0.0`` for what rounds to it."""
    text = f"{abs(gain):.{digits}f}"
    return f"{'±' if not float(text) else '+' if gain > 0 else '−'}{text}"


def relative(ratio: float) -> str:
    """``−62%``, ``+3.1%``; tenfold and more as ``×12``."""
    if ratio >= 10:
        return f"×{number(ratio, 3)}"
    share = 100 * (ratio - 1)
    return f"{signed(share, 0 if abs(share) >= 10 else 1)}%"


def percent(value: float) -> str:
    return f"{value:.1f}"


def measures(trajectory: Trajectory) -> list[Measure]:
    """In the order of the table's columns; benchmarks in the order in which the rungs name them."""
    rungs = trajectory.rungs

    def column(read: Callable[[Rung], float | None]) -> list[Reading]:
        return [Reading(read(rung)) for rung in rungs]

    timed = [Reading(rung.ms_per_token, detail=rung.engine) for rung in rungs]
    return [
        Measure("Parameters", column(lambda r: r.parameters), short),
        Measure("Weights", column(lambda r: r.bytes), lambda v: size(int(v)), better=-1, drawn="bars"),
        Measure("Val perplexity", column(lambda r: r.val_ppl), number, better=-1),
        Measure("Bits per byte", column(lambda r: r.bits_per_byte), number, better=-1, drawn="dots"),
        *_benchmarks(rungs),
        Measure("Time per token", timed, lambda v: number(v, 3), unit="ms", better=-1, noise=NOISE, drawn="bars"),
        Measure("Run time", column(lambda r: r.seconds), duration),
    ]


def _benchmarks(rungs: Sequence[Rung]) -> Iterator[Measure]:
    found = [{(score.task, score.metric): score for score in rung.scores} for rung in rungs]
    for key in dict.fromkeys(key for scores in found for key in scores):
        here = [scores.get(key) for scores in found]
        sizes = {_sample(score) for score in here if score}
        yield Measure(
            key[0],
            [_reading(score, told=len(sizes) > 1) for score in here],
            percent,
            metric=key[1],
            unit="%" if len(sizes) > 1 else f"% of {sizes.pop()}",
            better=1,
            in_points=True,
            drawn="dots",
        )


def _reading(score: Score | None, *, told: bool) -> Reading:
    """Of how many problems is said where the rungs differ in it."""
    if score is None:
        return Reading(None)
    return Reading(score.value, score.low, score.high, score.floor, f"of {_sample(score)}" if told else "")


def _sample(score: Score) -> str:
    return f"{score.problems:,}" + (f" × {score.samples}" if score.samples > 1 else "")
