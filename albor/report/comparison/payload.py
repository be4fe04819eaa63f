"""The curves of a comparison for the page: every run's series, thinned, each column written once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from albor.report.comparison.columns import Columns, Floats
from albor.report.comparison.model import DONE, Entry, Path
from albor.report.comparison.thinning import thinned
from albor.report.comparison.whole import Comparison
from albor.report.metrics import pack

BUDGET = 3_400_000
"""Characters that the curves may take."""
BUCKET = 4 / 3 * (2 * (4 + 2) + 4)
"""Characters for a bucket: two points of a float32 and an uint16, and a mean, in base64."""
MOST, FEWEST = 1000, 40
"""Buckets of a curve: more are not seen on a screen, with fewer a curve is none."""
KNOTS = 256
"""Places between which tokens and time are taken to grow evenly."""
CHARTS = 40
NOT_DRAWN = ("tokens", "time")
FIRST = ("val_loss", "loss")
TITLES: Mapping[str, tuple[str, str]] = {
    "val_loss": ("Validation loss", "nats/token"),
    "loss": ("Training loss", "nats/token"),
    "val_ppl": ("Validation perplexity", ""),
    "val_bits_per_byte": ("Validation bits per byte", ""),
    "divergence": ("Divergence from the teacher", ""),
    "margin": ("Margin of the chosen answer", "nats"),
    "lr": ("Learning rate", ""),
    "grad_norm": ("Gradient norm", "before clipping"),
    "grad_norm_clipped": ("Gradient norm", "after clipping"),
    "tokens_per_second": ("Throughput", "tokens/s"),
    "mfu": ("MFU", "share of peak"),
    "mfu_6p": ("MFU by 6·P", "share of peak"),
    "memory_gib": ("Memory", "GiB"),
    "eta_seconds": ("Time left, as estimated", "s"),
    "save_seconds": ("Time to save a checkpoint", "s"),
}


def chart_keys(entries: Sequence[Entry]) -> tuple[list[str], list[str]]:
    """(series to draw, series left out because there are too many): of every number that at least one run logged."""
    logged = dict.fromkeys(key for entry in entries for key in entry.columns.values if key not in NOT_DRAWN)
    known = [key for key in (*FIRST, *(key for key in TITLES if key not in FIRST)) if key in logged]
    keys = [*known, *(key for key in logged if key not in known)]
    return keys[:CHARTS], keys[CHARTS:]


class Pool:
    """Packed columns, each once: runs of one length share their steps."""

    def __init__(self) -> None:
        self.columns: list[dict[str, Any]] = []
        self._places: dict[str, int] = {}

    def put(self, values: Floats, code: str) -> int:
        """The place of a column in the list."""
        packed = {"n": len(values), **pack(values, code)}
        name = json.dumps(packed)
        if name not in self._places:
            self._places[name] = len(self.columns)
            self.columns.append(packed)
        return self._places[name]


def payload(comparison: Comparison) -> dict[str, Any]:
    """What ``compare.js`` reads: the pool, runs with their series (places in the pool), and charts."""
    keys, _ = chart_keys(comparison.entries)
    curves = sum(key in entry.columns.values for entry in comparison.entries for key in keys)
    buckets = int(min(MOST, max(FEWEST, BUDGET / BUCKET / max(1, curves))))
    pool = Pool()
    groups = {entry.id: place for place, group in enumerate(comparison.groups) for entry in group.entries}
    runs = [_run(entry, groups[entry.id], comparison.keys, keys, buckets, pool) for entry in comparison.entries]
    return {
        "name": comparison.name,
        "groups": [group.label for group in comparison.groups],
        "keys": list(comparison.keys),
        "runs": runs,
        "charts": keys,
        "rungs": rungs(comparison.paths),
        "pool": pool.columns,
    }


def _run(
    entry: Entry, group: int, differing: Sequence[str], keys: Sequence[str], buckets: int, pool: Pool
) -> dict[str, Any]:
    return {
        "name": entry.name,
        "group": group,
        "seed": entry.seed,
        "done": entry.status == DONE,
        "values": [entry.settings.get(key) for key in differing],
        "flops": entry.flops_per_token,
        "ends": entry.columns.steps[[0, -1]].tolist() if len(entry.columns.steps) else [0, 0],
        "knots": _knots(entry.columns, pool),
        "series": {key: _series(entry.columns, key, buckets, pool) for key in keys if key in entry.columns.values},
    }


def _series(columns: Columns, key: str, buckets: int, pool: Pool) -> dict[str, Any]:
    """s, y: steps and values of the points; c, m: middles and means of the buckets, where there are any."""
    curve = thinned(*columns.series(key), buckets)
    made: dict[str, Any] = {"s": pool.put(curve.steps, "h"), "y": pool.put(curve.values, "f")}
    if len(curve.means):
        made |= {"c": pool.put(curve.centres, "d"), "m": pool.put(curve.means, "f")}
    if key in columns.bad:
        made["bad"] = columns.bad[key].tolist()[:KNOTS]
    return made


def _knots(columns: Columns, pool: Pool) -> dict[str, int]:
    """Steps, and the tokens and seconds that had passed by then, at places along the run."""
    steps = columns.steps
    found = {}
    for axis in NOT_DRAWN:
        values = columns.values.get(axis)
        if values is None:
            continue
        there = np.flatnonzero(np.isfinite(values))
        there = there[np.unique(np.linspace(0, len(there) - 1, KNOTS).round().astype(int))]
        if axis == "tokens" and _even(steps[there], values[there]):
            there = there[[0, -1]]
        # A clock that was set back, between two parts of a run: time stands still until it has caught up.
        passed = np.maximum.accumulate(values[there]) - (values[there][0] if axis == "time" else 0)
        found[axis] = pool.put(passed, "d" if axis == "tokens" else "f")
        found[f"{axis}_steps"] = pool.put(steps[there], "h")
    return found


def _even(steps: Floats, values: Floats) -> bool:
    """Whether the values lie on one line over the steps."""
    across = steps[-1] - steps[0]
    if not across:
        return False
    line = values[0] + (steps - steps[0]) * (values[-1] - values[0]) / across
    return bool(np.abs(line - values).max() <= 1e-9 * max(1.0, np.abs(values).max()))


def rungs(paths: Sequence[Path]) -> dict[str, Any]:
    """The picture of each measure over the rungs: a line for each ladder, a place for each rung that any has."""
    names = _merged([[name for name, _ in path.rungs] for path in paths])
    charts: dict[str, dict[str, Any]] = {}

    def put(key: str, title: str, unit: str, path: Path, rung: str, value: float | None, ends: list[float]) -> None:
        if value is None:
            return
        chart = charts.setdefault(key, {"key": key, "title": title, "unit": unit, "lines": {}})
        chart["lines"].setdefault(path.name, []).append([names.index(rung), value, *ends])

    for path in paths:
        for rung, said in path.rungs:
            put("bits", "Bits per byte", "lower is better", path, rung, said.bits_per_byte, [])
            put("ppl", "Perplexity", "lower is better", path, rung, said.val_ppl, [])
            for score in said.scores:
                title, ends = f"{score.task} {score.metric}", [score.low, score.high]
                put(title, title, "%", path, rung, score.value, ends)
    return {"names": names, "charts": list(charts.values())}


def _merged(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every name once; one that a later list has comes behind the name that is before it there."""
    merged: list[str] = []
    for names in lists:
        for i, name in enumerate(names):
            if name not in merged:
                merged.insert(merged.index(names[i - 1]) + 1 if i else 0, name)
    return merged
