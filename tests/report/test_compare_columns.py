"""Logs as columns: the fast way and the slow one agree, and nothing is lost that can be seen."""

import json
import math
from operator import itemgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from albor.report.comparison.columns import _by_column, _by_line, read_columns
from albor.report.comparison.thinning import thinned
from albor.report.metrics import read_metrics

FLOATS = st.floats(-1e6, 1e6)
ROW = st.fixed_dictionaries(
    {"time": FLOATS}, optional={"loss": FLOATS, "lr": st.integers(0, 9), "val_loss": FLOATS, "é": FLOATS}
)


def log(path: Path, *rows: Any, end: str = "\n") -> Path:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + end)
    return path


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=30))
def test_both_ways_read_the_same(rows: list[dict[str, float]]) -> None:
    data = "".join(f"{json.dumps({'step': step, **row})}\n" for step, row in enumerate(rows)).encode()
    fast, slow = _by_column(data), _by_line(data)
    assert fast and fast[0].keys() == slow[0].keys()
    for key, column in fast[0].items():
        np.testing.assert_array_equal(column, slow[0][key])


def test_a_whole_log_reads_as_the_report_reads_it(tmp_path: Path) -> None:
    rows = [
        {"step": s, "tokens": 8 * s, "loss": 9 / s} | ({"val_loss": 1.0} if s % 3 == 0 else {}) for s in range(1, 99)
    ]
    path = log(tmp_path / "m.jsonl", *rows)
    found, told = read_columns(path), read_metrics(path)
    assert found.steps.tolist() == [row["step"] for row in told] and found.unread == 0
    steps, losses = found.series("val_loss")
    assert steps.tolist() == [3 * n for n in range(1, 33)] and set(losses) == {1.0}
    assert found.series("nothing")[0].size == 0


def test_a_torn_line_is_counted_and_left_out(tmp_path: Path) -> None:
    path = log(
        tmp_path / "m.jsonl", {"step": 1, "loss": 2.0}, '{"step": 2, "lo', {"step": 2, "loss": 1.5}, '{"st', end=""
    )
    found = read_columns(path)
    assert found.series("loss")[1].tolist() == [2.0, 1.5] and found.unread == 2


@pytest.mark.parametrize("bad", ["null", "NaN", "Infinity"])
def test_what_is_not_finite_is_told_from_what_was_not_logged(tmp_path: Path, bad: str) -> None:
    path = log(tmp_path / "m.jsonl", {"step": 1, "loss": 2.0}, f'{{"step": 2, "loss": {bad}}}', {"step": 3, "lr": 1.0})
    found = read_columns(path)
    assert found.series("loss")[0].tolist() == [1.0] and found.bad["loss"].tolist() == [2.0]
    assert "lr" not in found.bad


def test_steps_done_again_count_as_they_were_done_last(tmp_path: Path) -> None:
    first = [{"step": s, "loss": 1.0} for s in range(1, 9)]
    again = [{"step": s, "loss": 2.0} for s in range(4, 7)]
    abandoned = {"step": 8, "val_loss": 7.0}
    kept = {"step": 3, "val_loss": 8.0}
    found = read_columns(log(tmp_path / "m.jsonl", *first[:3], kept, *first[3:], abandoned, *again))
    assert found.series("loss")[0].tolist() == [1, 2, 3, 4, 5, 6]
    assert found.series("loss")[1].tolist() == [1, 1, 1, 2, 2, 2]
    assert found.series("val_loss")[0].tolist() == [3.0]


@pytest.mark.parametrize("loss", [1.0, None])
def test_a_step_s_checkpoints_and_its_loss_are_one_row(tmp_path: Path, loss: float | None) -> None:
    rows = [
        {"step": 1, "time": 1.0, "loss": 2.0},
        {"step": 2, "time": 2.0, "loss": loss},
        {"step": 2, "time": 3.0, "save_seconds": 0.5},
        {"step": 2, "time": 4.0, "val_loss": 3.0},
        {"step": 2, "time": 5.0, "save_seconds": 0.6},
    ]
    found = read_columns(log(tmp_path / "m.jsonl", *rows))
    assert found.steps.tolist() == [1, 2, 2]
    assert found.values["time"].tolist() == [1, 5, 4]
    assert found.series("save_seconds")[1].tolist() == [0.6] and found.series("val_loss")[1].tolist() == [3.0]
    assert found.series("loss")[1].tolist() == ([2.0, 1.0] if loss else [2.0])
    assert [steps.tolist() for steps in found.bad.values()] == ([] if loss else [[2.0]])


def test_a_step_done_again_keeps_nothing_of_the_first_time(tmp_path: Path) -> None:
    first = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "save_seconds": 0.5}]
    found = read_columns(log(tmp_path / "m.jsonl", *first, {"step": 1, "loss": 3.1}, {"step": 2, "loss": 2.1}))
    assert found.series("loss")[1].tolist() == [3.1, 2.1] and "save_seconds" not in found.values


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 4), ROW), min_size=1, max_size=30))
def test_repeated_steps_read_as_the_report_reads_them(rows: list[tuple[int, dict[str, float]]]) -> None:
    with TemporaryDirectory() as place:
        path = log(Path(place) / "m.jsonl", *({"step": step, **row} for step, row in sorted(rows, key=itemgetter(0))))
        found, told = read_columns(path), read_metrics(path)
    for key in ("loss", "lr", "val_loss"):
        last = max((row["step"] for row in told if "val_loss" not in row), default=math.inf)
        kept = [row for row in told if "val_loss" not in row or row["step"] <= last]
        assert found.series(key)[1].tolist() == [row[key] for row in kept if key in row]


@pytest.mark.parametrize("more", [{}, {"loss": None}])
def test_alerts_are_kept_apart(tmp_path: Path, more: dict[str, Any]) -> None:
    said = {"step": 2, "alert": "loss_spike", "message": "2024-01-01"}
    found = read_columns(log(tmp_path / "m.jsonl", {"step": 1, "loss": 2.0} | more, said, {"step": 3, "loss": 1.0}))
    (alert,) = found.alerts
    assert (alert.step, alert.name, alert.message[:10]) == (2.0, "loss_spike", "2024-01-01")
    assert found.steps.tolist() == [1, 3]


@pytest.mark.parametrize("text", ["", "\n", "nonsense\n", "[1]\n", '{"loss": 1}\n', '{"step": "x", "loss": 1}\n'])
def test_a_log_without_a_step_is_empty(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.jsonl"
    path.write_text(text)
    found = read_columns(path)
    assert not found.steps.size and not found.values


def test_an_odd_column_is_no_number(tmp_path: Path) -> None:
    rows = [{"step": 1, "loss": 1.0, "note": "a", "ok": True}, {"step": 2, "loss": 10**400, "note": 3}]
    found = read_columns(log(tmp_path / "m.jsonl", *rows))
    assert found.series("loss")[1].tolist() == [1.0] and found.bad["loss"].tolist() == [2.0]
    assert "ok" not in found.values and found.series("note")[1].tolist() == [3.0]


@settings(max_examples=60, deadline=None)
@given(st.lists(FLOATS, min_size=1, max_size=400), st.integers(2, 60))
def test_thinning_keeps_ends_extremes_and_means(values: list[float], buckets: int) -> None:
    found = np.array(values)
    steps = np.arange(len(values), dtype=float)
    curve = thinned(steps, found, buckets)
    assert len(curve.steps) <= 2 * buckets + 2 and (np.diff(curve.steps) > 0).all()
    assert curve.values.tolist() == found[curve.steps.astype(int)].tolist()
    assert {found[0], found[-1], found.min(), found.max()} <= set(curve.values)
    if len(curve.means):
        width = math.ceil(len(values) / buckets)
        sizes = [len(values[i : i + width]) for i in range(0, len(values), width)]
        assert float((curve.means * sizes).sum()) == pytest.approx(found.sum(), abs=1e-3)
    else:
        assert curve.steps.tolist() == steps.tolist()
