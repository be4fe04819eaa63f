"""metrics.jsonl, read and packed: rows in, columns that a browser decodes in a millisecond out."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from albor.report.formats import number
from albor.report.model import Number

AXES = ("step", "tokens", "time")
CHARTS: dict[str, tuple[str, str]] = {
    "loss": ("Loss", ""),
    "lr": ("Learning rate", ""),
    "grad_norm": ("Gradient norm", ""),
    "tokens_per_second": ("Throughput", "tokens/s"),
}
EXTRA_CHARTS = 8
LARGEST = 3.4e38


def read_metrics(path: Path) -> list[dict[str, Number]]:
    """Rows by step, a step's training row before its validation row. Rows in a row of the same step are one, of the
    last values; those of a step that was done again take the place of the earlier ones. Alerts, which are text, are
    left out.

    A torn line is what a killed run leaves: it is dropped, and where something was written behind it, that row is read.
    Any other line that is not a JSON object raises ``ValueError`` naming ``file:line``.
    """
    rows: dict[tuple[float, bool], dict[str, Number]] = {}
    before: dict[bool, float] = {}
    for line, text in lines(path.read_bytes()):
        row = parse(text)
        if row is None and not text.startswith("{"):
            raise ValueError(f"{path}:{line}: not a JSON object")
        if row is not None and "alert" not in row and is_number(row.get("step")):
            step, validation = float(row["step"]), "val_loss" in row
            same = before.get(validation) == step
            rows[step, validation] = rows[step, validation] | row if same else row
            before[validation] = step
    return [rows[key] for key in sorted(rows)]


def lines(data: bytes) -> list[tuple[int, str]]:
    """Each line that is not blank, and its number."""
    found = enumerate(data.decode("utf-8", errors="replace").split("\n"), 1)
    return [(place, line) for place, line in found if line.strip()]


def parse(line: str) -> dict[str, Any] | None:
    """The object of a line, or the one written behind a torn line; ``None`` if there is none."""
    start = 0
    while start >= 0:
        try:
            row = json.loads(line[start:])
        except ValueError:
            start = line.find("{", start + 1)
            continue
        return row if isinstance(row, dict) else None
    return None


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def split(rows: Sequence[Mapping[str, Number]]) -> tuple[list[Mapping[str, Number]], list[Mapping[str, Number]]]:
    """(training rows, validation rows), each in order of its steps; rows without a finite step are left out."""
    kept = sorted((row for row in rows if math.isfinite(real(row.get("step")))), key=lambda row: real(row["step"]))
    return [row for row in kept if "val_loss" not in row], [row for row in kept if "val_loss" in row]


def real(value: object) -> float:
    """A float; NaN for what is absent or not a number."""
    try:
        return float(value) if is_number(value) else math.nan  # type: ignore[arg-type]
    except OverflowError:
        return math.inf


def chart_keys(train: Sequence[Mapping[str, Number]]) -> list[str]:
    """The four charts every run has, then one for each other number that was logged."""
    seen = dict.fromkeys(key for row in train for key, value in row.items() if is_number(value))
    return [*CHARTS, *[key for key in seen if key not in CHARTS and key not in AXES][:EXTRA_CHARTS]]


def payload(name: str, rows: Sequence[Mapping[str, Number]]) -> dict[str, Any]:
    """One run for ``chart.js``: its training and its validation track, each a count, axes and columns.

    ``bad`` lists, by column, the rows whose value was logged but is not finite (the charts mark them; a column itself
    holds NaN both for those and for what was never logged).
    """
    train, val = split(rows)
    val_keys = ["val_loss", "val_ppl", "val_bits_per_byte"] if val else []
    return {"name": name, "train": _track(train, chart_keys(train)), "val": _track(val, val_keys)}


def _track(rows: Sequence[Mapping[str, Number]], keys: Sequence[str]) -> dict[str, Any]:
    columns = {key: [real(row.get(key)) for row in rows] for key in keys}
    bad = {key: [i for i, row in enumerate(rows) if is_number(row.get(key)) and not math.isfinite(columns[key][i])]
           for key in keys}  # fmt: skip
    return {
        "n": len(rows),
        "axes": {axis: pack([real(row.get(axis)) for row in rows], "d") for axis in AXES},
        "columns": {key: pack(values, "f") for key, values in columns.items() if any(map(math.isfinite, values))},
        "bad": {key: indices for key, indices in bad.items() if indices},
    }


def pack(values: Sequence[float] | NDArray[np.float64], code: str) -> dict[str, Any]:
    """An even progression as its start and stride; any other column as base64 of little-endian float32 or float64
    (``code`` f or d), or of a start and the uint16 differences (h, where they are such).

    Four bytes keep seven digits, all that a float32 loss has.
    """
    found = np.asarray(values, np.float64)
    with np.errstate(over="ignore"):
        strides = np.diff(found)
    if len(found) > 1 and np.isfinite(found).all() and np.isfinite(strides[0]) and (strides == strides[0]).all():
        return {"from": float(found[0]), "by": float(strides[0])}
    if code == "h":
        if len(found) and (strides == strides.astype(np.uint16)).all():
            return {"from": float(found[0]), "h": _encoded(strides, "<u2")}
        code = "d"
    limit = LARGEST if code == "f" else math.inf
    return {code: _encoded(np.where(np.abs(found) <= limit, found, np.nan), "<f4" if code == "f" else "<f8")}


def _encoded(values: NDArray[np.float64], dtype: str) -> str:
    return base64.b64encode(values.astype(dtype).tobytes()).decode()


def summary(key: str, rows: Sequence[Mapping[str, Number]]) -> str:
    """A chart in words: first, last and lowest value, validation, and what was not finite."""
    train, val = split(rows)
    logged = [(real(row["step"]), real(row[key])) for row in train if is_number(row.get(key))]
    points = [(step, value) for step, value in logged if math.isfinite(value)]
    parts = []
    if points:
        extreme = min if key == "loss" else max
        step, value = extreme(points, key=lambda point: point[1])
        (first, start), (last, end) = points[0], points[-1]
        parts.append(f"{number(start)} at step {first:,.0f}")
        if len(points) > 1:
            parts[0] += f", {number(end)} at {last:,.0f}"
            parts.append(f"{'lowest' if key == 'loss' else 'highest'} {number(value)} at {step:,.0f}")
    if len(logged) > len(points):
        first = next(step for step, value in logged if not math.isfinite(value))
        parts.append(f"{len(logged) - len(points):,} non-finite, the first at step {first:,.0f}")
    checked = [(real(row["step"]), real(row["val_loss"])) for row in val] if key == "loss" else []
    checked = [(step, value) for step, value in checked if math.isfinite(value)]
    if checked:
        step, value = min(checked, key=lambda point: point[1])
        parts.append(f"validation lowest {number(value)} at {step:,.0f}")
    return "; ".join(parts) + "." if parts else "Nothing was logged."
