"""metrics.jsonl as columns: what a comparison of many long runs can read in seconds."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albor.report.metrics import lines, parse, real

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
NOT_FINITE = (b"null", b"NaN", b"Infinity")
"""How a log writes what is not finite. A column cannot tell that from what was not logged, so such a log is read line
by line."""
VALIDATION = "val_loss"
TEXTS = ("alert", "message")


@dataclass(frozen=True)
class Alert:
    step: float
    name: str
    message: str


@dataclass(frozen=True)
class Columns:
    """The numbers of a run, by step. A step that a resumed run did again counts once, as it was done last."""

    steps: Floats
    """(rows,), never falling; a step may have a row of training and one of validation."""
    values: Mapping[str, Floats]
    """Each (rows,), NaN where nothing finite was logged; of every key that has a number."""
    bad: Mapping[str, Floats] = field(default_factory=dict)
    """Steps at which a key's value was not finite."""
    alerts: Sequence[Alert] = ()
    unread: int = 0
    """Lines that are no JSON object: what a killed process leaves."""

    def series(self, key: str) -> tuple[Floats, Floats]:
        """(steps, values) of one key, where it was logged."""
        values = self.values.get(key)
        if values is None:
            return np.empty(0), np.empty(0)
        there = np.isfinite(values)
        return self.steps[there], values[there]


Raw = tuple[dict[str, Floats], dict[str, NDArray[np.bool_]], list[Alert], int]
"""Columns as they were written, where they are not finite, alerts, and lines that could not be read."""


def read_columns(path: Path) -> Columns:
    """The log of a run, finished or not. Raises OSError."""
    data = path.read_bytes()
    written, bad, alerts, unread = _by_column(data) or _by_line(data)
    steps = written.pop("step", np.empty(0))
    if not len(steps):
        return Columns(steps, {}, {}, alerts, unread)
    check = np.isfinite(written[VALIDATION]) | bad[VALIDATION] if VALIDATION in written else np.zeros(len(steps), bool)
    there = np.isfinite(steps)
    train, checks = np.flatnonzero(there & ~check), np.flatnonzero(there & check)
    for kind in (train, checks):
        _merge(steps, kind, written, bad)
    rows = _kept(steps, train, checks)
    rows = rows[np.argsort(steps[rows], kind="stable")]
    values = {key: column[rows] for key, column in written.items()}
    return Columns(
        steps=steps[rows],
        values={key: column for key, column in values.items() if np.isfinite(column).any()},
        bad={key: steps[rows][where[rows]] for key, where in bad.items() if where[rows].any()},
        alerts=alerts,
        unread=unread,
    )


def _merge(steps: Floats, rows: Rows, columns: Mapping[str, Floats], bad: Mapping[str, NDArray[np.bool_]]) -> None:
    """Adds to each of ``rows`` what those right before it have of the same step and it has not: a step's checkpoint is
    logged after the step."""
    same = np.diff(steps[rows], prepend=np.nan) == 0
    shared = same | np.append(same[1:], False)
    rows, same = rows[shared], same[shared]
    places = np.arange(len(rows))
    first = np.where(same, 0, places)
    for key, column in columns.items():
        where = bad.get(key)
        said = np.isfinite(column[rows]) if where is None else np.isfinite(column[rows]) | where[rows]
        source = rows[np.maximum.accumulate(np.where(said, places, first))]
        column[rows] = column[source]
        if where is not None:
            where[rows] = where[source]


def _kept(steps: Floats, train: Rows, checks: Rows) -> Rows:
    """The rows that count: a step that comes again takes the place of all from there on."""
    train, checks = _last(steps, train), _last(steps, checks)
    if len(train):  # what an attempt that was given up had validated
        checks = checks[steps[checks] <= steps[train[-1]]]
    return np.concatenate([train, checks])


def _last(steps: Floats, rows: Rows) -> Rows:
    """The rows whose step no later row has reached again."""
    found = steps[rows]
    if len(found) < 2 or (np.diff(found) > 0).all():
        return rows
    after = np.append(np.minimum.accumulate(found[::-1])[::-1][1:], np.inf)
    return rows[found < after]


def _by_column(data: bytes) -> Raw | None:
    """By Arrow, in a third of the time; None for a log that only lines can tell."""
    import pyarrow as pa
    from pyarrow import json

    if any(word in data for word in NOT_FINITE):
        return None
    try:
        table = json.read_json(pa.BufferReader(data))
    except pa.ArrowInvalid:
        return None
    if "step" not in table.column_names:
        return None
    alerts: list[Alert] = []
    if "alert" in table.column_names:
        said = table.filter(table["alert"].is_valid())
        texts = [said[name].to_pylist() if name in said.column_names else [""] * len(said) for name in TEXTS]
        alerts = [
            Alert(real(step), *map(str, text)) for step, *text in zip(said["step"].to_pylist(), *texts, strict=True)
        ]
        table = table.filter(table["alert"].is_null())
    kinds = {name: table.schema.field(name).type for name in table.column_names}
    numbers = [name for name, kind in kinds.items() if pa.types.is_integer(kind) or pa.types.is_floating(kind)]
    columns = {name: _numbers(table[name].cast(pa.float64()).combine_chunks()) for name in numbers}
    return columns, defaultdict(lambda: np.zeros(len(table), bool)), alerts, 0


def _numbers(column: Any) -> Floats:
    """An array of Arrow's doubles, NaN where it has none. (Arrow's own way to NumPy imports pandas where there is one:
    half a second.)"""
    valid, data = column.buffers()
    place = slice(column.offset, column.offset + len(column))
    found = np.frombuffer(data, np.float64)[place].copy()
    if column.null_count:
        found[np.unpackbits(np.frombuffer(valid, np.uint8), bitorder="little")[place] == 0] = np.nan
    return found


def _by_line(data: bytes) -> Raw:
    found = [parse(text) for _, text in lines(data)]
    rows: list[dict[str, Any]] = []
    alerts = []
    for row in found:
        if row is not None and "alert" in row:
            alerts.append(Alert(real(row.get("step")), str(row["alert"]), str(row.get("message", ""))))
        elif row is not None and math.isfinite(real(row.get("step"))):
            rows.append(row)
    columns: dict[str, Floats] = {}
    bad: dict[str, NDArray[np.bool_]] = defaultdict(lambda: np.zeros(len(rows), bool))
    for key in dict.fromkeys(key for row in rows for key in row):
        numbers = np.array([real(row.get(key)) for row in rows])
        said = np.array([key in row and (row[key] is None or isinstance(row[key], float | int)) for row in rows], bool)
        columns[key] = np.where(np.isfinite(numbers), numbers, np.nan)
        if (where := said & ~np.isfinite(numbers)).any():
            bad[key] = where
    unread = sum(row is None for row in found)
    return columns, bad, alerts, unread
