"""docs/RESULTS.md: prose from its template, tables and figures from records."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from albor.cli.render import plural
from bench.results.figures import curves, short
from bench.results.fit import Law, Point, fit, held_out, redrawn
from bench.results.records import Record

DOCS = Path(__file__).parents[2] / "docs"
TEMPLATE = Path(__file__).with_name("RESULTS.md.j2")
PAGE = DOCS / "RESULTS.md"
IMAGES = DOCS / "images" / "results"
BITS = "val_bits_per_byte"
NOISE = 0.005
"""The share by which two seeds of one run differ at its end: docs/LOG.md, how the rate ends."""


def render(records: Sequence[Record], verdicts: Sequence[Mapping[str, str]]) -> dict[Path, str]:
    """The page and its figures: path to text."""
    made: dict[Path, str] = {}
    runs = Runs(records)
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    figure = _figure(runs, made)
    said = {"run": runs.one, "short": short, "figure": figure, "verdicts": judged(verdicts)}
    said |= {
        name: getattr(runs, name)
        for name in ("has", "at", "pace", "reached", "every", "ladder", "rungs", "scores", "speeds", "law")
    }
    return {PAGE: environment.from_string(TEMPLATE.read_text()).render(said), **made}


class Runs:
    """Records by name, and tables of them."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.all = records
        self.by_id = {record.id: record for record in records if record.id}
        self.by_name: dict[str, list[Record]] = {}
        for record in records:
            self.by_name.setdefault(record.key, []).append(record)

    def one(self, key: str) -> Record:
        """By id, by STAGE/NAME, or a loop by its name."""
        found = [self.by_id[key]] if key in self.by_id else self.by_name.get(key, [])
        done = [record for record in found if record.status == "done"]
        if len(done) != 1:
            raise KeyError(f"{len(done)} finished runs of {key}: {', '.join(sorted(self.by_name))}")
        return done[0]

    def has(self, *keys: str) -> bool:
        """Whether these runs are there and came to their ends."""
        found = [[self.by_id[key]] if key in self.by_id else self.by_name.get(key, []) for key in keys]
        return all(any(record.status == "done" for record in records) for records in found)

    def reached(self, key: str, bits: float) -> dict[str, float]:
        """Where a run is first at or below so many bits a byte."""
        return next(point for point in self.one(key).curve if point[BITS] <= bits)

    def at(self, key: str, tokens: float) -> dict[str, float]:
        """The last validation by so many tokens."""
        return [point for point in self.one(key).curve if point["tokens"] <= tokens][-1]

    def pace(self, key: str) -> float:
        """Tokens a second: the median of albor's steps, or of a loop between its validations."""
        record = self.one(key)
        if median := record.facts.get("tokens_per_second"):
            return float(median)
        # What compilation took is in the first of them; what validations took, where a loop has not said it, in all.
        spent = [(point["tokens"], point["seconds"] - point.get("validating", 0.0)) for point in record.curve]
        return statistics.median((b[0] - a[0]) / (b[1] - a[1]) for a, b in itertools.pairwise(spent))

    def every(self) -> str:
        """How each run was made."""
        rows = [
            [
                r.key if r.status == "done" else f"{r.key} ({r.status})",
                f"{r.curve[-1][BITS]:.4f} at {short(r.curve[-1]['tokens'])}" if r.curve else "",
                code(r.id),
                code((r.rows or "")[:12]),
                r.hardware,
                r.commit or "",
                r.date,
                code(r.command),
            ]
            for r in sorted(self.all, key=lambda one: (one.key, one.date))
        ]
        return table(["what", "bits/byte at tokens", "run", "rows", "on", "commit", "date", "command"], rows)

    def ladder(self, key: str) -> str:
        rungs: dict[str, dict[str, Any]] = self.one(key).facts["rungs"]
        rows = [
            [
                name,
                code(rung["run_id"]),
                f"{rung['parameters'] / 1e6:.1f}M",
                f"{rung['bytes'] / 1e6:.1f} MB",
                f"{rung['val_ppl']:.3f}",
                f"{rung['bits_per_byte']:.4f}",
                f"{rung['ms_per_token']:.2f} {rung['engine']}",
            ]
            for name, rung in rungs.items()
        ]
        return table(["rung", "run", "parameters", "size", "val_ppl", "bits/byte", "ms a token"], rows)

    def rungs(self, key: str) -> dict[str, str]:
        """A ladder's rungs, each with the id of its evaluation."""
        inputs = self.one(key).inputs
        return {name: inputs[name] for name in self.one(key).facts["rungs"]}

    def scores(self, columns: Mapping[str, str]) -> str:
        """Tasks by evaluations: shares in percent with their intervals, and what a hole left empty is worth."""
        facts = [self.one(key).facts for key in columns.values()]
        found = [dict(measured(one["scores"])) for one in facts]
        floors = {name: floor for one in found for name, (_, floor) in one.items()}
        rows = [
            ["held-out packages, val_ppl", *(f"{one['val_ppl']:.3f}" for one in facts), ""],
            ["held-out packages, bits/byte", *(f"{one[BITS]:.4f}" for one in facts), ""],
        ]
        rows += [
            [name, *(one[name][0] if name in one else "" for one in found), "" if floor is None else percent(floor)]
            for name, floor in floors.items()
        ]
        return table(["", *columns, "hole left empty"], rows)

    def speeds(self, models: Iterable[tuple[str, str]]) -> str:
        """How fast models answer: one text at a time, and as many as were asked for at once."""
        rows = []
        for name, key in models:
            facts = self.one(key).facts
            engines: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
            for timing in facts["timings"]:
                engines.setdefault((timing["engine"], timing["threads"]), []).append(timing)
            for (engine, threads), timings in engines.items():
                alone, most = (pick(timings, key=lambda one: one["rows"]) for pick in (min, max))
                on = facts["machine"] if threads is None else f"{facts['machine']}, {plural(threads, 'thread')}"
                together = f"{most['rate']:,.0f} ({most['rows']} at a time)" if most["rows"] > 1 else ""
                each = "" if alone["p50_ms"] is None else f"{alone['p50_ms']:.2f}"
                rows.append([name, on, engine, each, f"{alone['rate']:,.0f}", together])
        return table(["", "on", "engine", "ms a token", "tokens a second", "several texts"], rows)

    def law(self, keys: Iterable[str]) -> Fitted:
        points: list[Point] = []
        for key in keys:
            record = self.one(key)
            last = record.curve[-1]
            points.append((record.facts["parameters"], last["tokens"], last[BITS]))
        return Fitted(points)


class Fitted:
    """A law with the runs that it was fitted to."""

    def __init__(self, points: Sequence[Point]) -> None:
        self.points, self.law = sorted(points), fit(points)
        self.others = held_out(self.points)
        self.redrawn = redrawn(self.points, NOISE)

    def __str__(self) -> str:
        law: Law = self.law
        return f"{law.floor:.2f} + {law.a:.2g}/N^{law.alpha:.2f} + {law.b:.2g}/D^{law.beta:.2f}"

    def says(self, parameters: float, tokens: float) -> str:
        """With 95% of what laws of redrawn runs say."""
        low, high = np.percentile([law(parameters, tokens) for law in self.redrawn], (2.5, 97.5))
        return f"{self.law(parameters, tokens):.2f} ({low:.2f} to {high:.2f})"

    def table(self) -> str:
        rows = [
            [f"{n / 1e6:.1f}M", short(d), f"{loss:.3f}", f"{self.law(n, d):.3f}", f"{share * loss:.3f}"]
            for (n, d, loss), share in zip(self.points, self.others, strict=True)
        ]
        return table(["parameters", "tokens", "bits/byte", "the law", "the law of the others"], rows)


def _figure(runs: Runs, made: dict[Path, str]) -> Callable[..., str]:
    def figure(name: str, title: str, columns: Mapping[str, str], top: float) -> str:
        series = {label: [(p["tokens"], p[BITS]) for p in runs.one(key).curve] for label, key in columns.items()}
        drawing = curves(title, series, across="tokens", up="bits per byte", top=top)
        made[IMAGES / f"{name}.svg"] = drawing.svg()
        return f"![{title}](images/results/{name}.svg)"

    return figure


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def judged(verdicts: Iterable[Mapping[str, str]]) -> str:
    """The predictions, with the command that says so of the runs in a store."""
    rows = [
        [one["id"][-3:], one["title"], one["verdict"], one["evidence"], code(f"albor falsify {int(one['id'][-3:])}")]
        for one in verdicts
    ]
    return table(["", "prediction", "verdict", "evidence", "command"], rows)


def code(words: str) -> str:
    return f"`{words}`" if words else ""


def measured(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, tuple[str, float | None]]]:
    """The name of each measure of each task and of its groups, what it says, and the floor that is known of it."""
    for task, values in scores.items():
        for metric, value in values.items():
            if isinstance(value, dict) and "low" in value:
                yield f"{task}, {metric}", (score(metric, value), values.get("empty"))
        yield from measured({f"{task}, {group}": of for group, of in values.get("groups", {}).items()})


def score(metric: str, value: Mapping[str, float]) -> str:
    low, high = value["low"], value["high"]
    if metric == "perplexity":
        return f"{value['value']:,.0f} ({low:,.0f} to {high:,.0f})"
    return f"{percent(value['value'])} ({100 * low:.1f} to {100 * high:.1f})"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"
