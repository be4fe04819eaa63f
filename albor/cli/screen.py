"""A watched run in lines of text that fit a width."""

from __future__ import annotations

import statistics
import textwrap
import time
from collections.abc import Iterable, Iterator

from albor.cli.chart import chart
from albor.cli.watch import RECENT, Watch
from albor.config.units import human_count, human_seconds
from albor.runs import evaluations

LABEL = 11
CURVE_HEIGHT = 4
WIDEST = 100
SPARKLINE = 10
"""Columns that a curve beside numbers needs at least."""
SHOWN_ALERTS = 3
SHOWN_EVALUATIONS = 3
FIRST_LINES = 10
"""Numbers shown of a stage that does not train."""


def screen(watch: Watch, width: int, now: float | None = None) -> list[str]:
    """The run as it is now: header, progress, metrics, alerts; no line is longer than ``width``."""
    now = time.time() if now is None else now
    width = max(1, min(width, WIDEST))
    shown = [*metrics(watch, width), *evaluated(watch, width), *alerts(watch, width)]
    lines = [*header(watch, width, now), *progress(watch, width), "", *shown]
    return [line[:width].rstrip() for line in lines]


def header(watch: Watch, width: int, now: float) -> Iterator[str]:
    run = watch.run
    yield from flow([f"{run.stage}/{watch.directory.name}", watch.verdict(now)], width)
    parts = []
    if run.started is not None:
        parts.append(f"started {time.strftime('%Y-%m-%d %H:%M', time.localtime(run.started))}")
        parts.append(f"on {run.environment.get('host', 'an unknown machine')}")
    if (elapsed := watch.elapsed(now)) is not None:
        parts.append(f"{'took' if watch.ended else 'for'} {human_seconds(elapsed)}")
    if (silent := watch.silent(now)) is not None and not watch.ended:
        parts.append(f"last line {human_seconds(round(silent))} ago" if watch.metrics.time else "no line yet")
    yield from flow(parts, width)


def progress(watch: Watch, width: int) -> Iterator[str]:
    step, total = watch.metrics.step, watch.total
    if total is None:
        return
    share = min(1.0, step / total)
    columns = max(1, min(40, width - 2))
    filled = int(share * columns)
    parts = [f"[{'█' * filled}{'░' * (columns - filled)}]", f"step {step:,}/{total:,}", f"{share:.0%}"]
    if tokens := watch.metrics.latest.get("tokens"):
        parts.append(f"{human_count(tokens)} tokens")
    if (left := watch.left()) is not None:
        parts.append(f"{human_seconds(left)} left")
    yield from flow(parts, width)


def metrics(watch: Watch, width: int) -> Iterator[str]:
    latest, curves = watch.metrics.latest, watch.metrics.curves
    if not latest:
        yield "no metrics yet"
        return
    if watch.total is None:
        yield from (f"{name:<24} {value:,.6g}" for name, value in list(latest.items())[:FIRST_LINES])
        return
    yield from row("loss", lowest(watch, "loss"), width)
    yield from (f"  {line}" for line in chart(curves["loss"].values, width - 4, CURVE_HEIGHT))
    yield from row("val loss", lowest(watch, "val_loss"), width, curves["val_loss"].values)
    yield from row(
        "val ppl", [*given(watch, "val_ppl", "{:,.2f}"), *given(watch, "val_bits_per_byte", "{:.4f} bits/byte")], width
    )
    yield from row("lr", given(watch, "lr", "{:.3e}"), width)
    norms = [*given(watch, "grad_norm", "{:.4g}"), *given(watch, "grad_norm_clipped", "{:.4g} clipped")]
    yield from row("grad norm", norms, width, curves["grad_norm"].values)
    rates = curves["tokens_per_second"].values
    recent = [f"{statistics.median(rates[-RECENT:]):,.0f} lately"] if rates else []
    yield from row("tok/s", [*given(watch, "tokens_per_second", "{:,.0f}"), *recent], width, rates)
    yield from row("MFU", [*given(watch, "mfu", "{:.1%} (PaLM)"), *given(watch, "mfu_6p", "{:.1%} (6P)")], width)
    yield from row("memory", given(watch, "memory_gib", "{:.1f} GiB peak"), width)


def given(watch: Watch, metric: str, form: str) -> list[str]:
    value = watch.metrics.latest.get(metric)
    return [] if value is None else [form.format(value)]


def lowest(watch: Watch, metric: str) -> list[str]:
    """The last value of a curve, and the lowest with its step."""
    curve = watch.metrics.curves[metric]
    if not curve.values:
        return []
    value, step = min(zip(curve.values, curve.steps, strict=True))
    return [f"{curve.values[-1]:.4f}", f"lowest {value:.4f} at {step:,}"]


def row(label: str, parts: list[str], width: int, values: list[float] | None = None) -> Iterator[str]:
    """A label, numbers, and what fits beside them of a curve; nothing where there are no numbers."""
    if not parts:
        return
    lines = list(flow(parts, width - LABEL))
    room = width - LABEL - len(lines[0]) - 2
    if values and len(lines) == 1 and room >= SPARKLINE:
        lines[0] += "  " + chart(values, min(room, 40))[0]
    for n, line in enumerate(lines):
        yield f"{label if n == 0 else '':<{LABEL}}{line}"


def evaluated(watch: Watch, width: int) -> Iterator[str]:
    """What `albor watch` found of the newest checkpoints."""
    for n, entry in enumerate(watch.evaluations[-SHOWN_EVALUATIONS:]):
        numbers = [f"{name} {value:,.4g}" for name, value in entry.items() if name not in evaluations.ABOUT]
        yield from row("" if n else "evaluated", [f"step {entry['checkpoint']:,}", *numbers], width)


def alerts(watch: Watch, width: int) -> Iterator[str]:
    for said in watch.metrics.said[-SHOWN_ALERTS:]:
        yield ""
        first, *rest = said.message.split("\n")
        yield from textwrap.wrap(f"step {said.step:,}  {said.name}: {first}", max(20, width), subsequent_indent="  ")
        for line in rest:
            yield from textwrap.wrap(line, max(20, width), subsequent_indent="     ", initial_indent="  ")


def flow(parts: Iterable[str], width: int) -> Iterator[str]:
    """The parts beside each other, two blanks between, as many on a line as fit; longer ones broken between words."""
    line = ""
    for part in (
        p for given in parts for p in (textwrap.wrap(given, max(1, width)) if len(given) > width else [given])
    ):
        if line and len(line) + 2 + len(part) > width:
            yield line
            line = part
        else:
            line = f"{line}  {part}" if line else part
    if line:
        yield line
