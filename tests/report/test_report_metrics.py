import base64
import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest

from albor.report.metrics import chart_keys, pack, payload, read_metrics, split, summary


def write(path: Path, *lines: object) -> Path:
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    return path


def test_a_torn_last_line_is_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", {"step": 1, "loss": 2.0}, '{"step": 2, "lo')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]


def test_a_torn_last_line_may_end_inside_a_character(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(b'{"step": 1, "loss": 2.0}\n{"step": 2, "n\xc3')
    assert read_metrics(path) == [{"step": 1, "loss": 2.0}]


def test_a_row_written_behind_a_torn_line_is_read(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", '{"step": 1, "lo{"step": 1, "loss": 3.0}', {"step": 2, "loss": 2.0}, "")
    assert [row["loss"] for row in read_metrics(path)] == [3.0, 2.0]


def test_a_torn_line_that_a_later_attempt_ended_is_dropped(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", {"step": 1, "loss": 2.0}, '{"step": 2, "lo', {"step": 2, "loss": 1.0})
    assert [row["loss"] for row in read_metrics(path)] == [2.0, 1.0]


@pytest.mark.parametrize("broken", ["nonsense", "[1, 2]"])
def test_any_other_broken_line_is_named(tmp_path: Path, broken: str) -> None:
    path = write(tmp_path / "m.jsonl", {"step": 1, "loss": 2.0}, broken, {"step": 2, "loss": 2.0})
    with pytest.raises(ValueError, match=r"m\.jsonl:2: not a JSON object"):
        read_metrics(path)


def test_the_last_value_of_a_step_wins_and_validation_keeps_its_own_row(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = [{"step": s, "loss": float(s)} for s in (1, 2, 3)] + [
        {"step": 2, "val_loss": 9.0},
        {"step": 2, "loss": 7.0},
    ]
    read = read_metrics(write(tmp_path / "m.jsonl", *rows))
    assert read == [rows[0], {"step": 2, "loss": 7.0}, {"step": 2, "val_loss": 9.0}, rows[2]]


def test_a_checkpoint_s_row_is_merged_into_its_step_s(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.jsonl",
        {"step": 1, "time": 1.0, "loss": 3.0},
        {"step": 1, "time": 2.0, "save_seconds": 0.5},
        {"step": 2, "time": 3.0, "loss": 2.0},
        {"step": 2, "time": 4.0, "val_loss": 2.5},
        {"step": 2, "time": 5.0, "save_seconds": 0.6},
    )
    assert read_metrics(path) == [
        {"step": 1, "time": 2.0, "loss": 3.0, "save_seconds": 0.5},
        {"step": 2, "time": 5.0, "loss": 2.0, "save_seconds": 0.6},
        {"step": 2, "time": 4.0, "val_loss": 2.5},
    ]


def test_a_step_done_again_keeps_nothing_of_the_first_time(tmp_path: Path) -> None:
    first = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}, {"step": 2, "save_seconds": 0.5}]
    again = [{"step": 1, "loss": 3.1}, {"step": 2, "loss": 2.1}]
    assert read_metrics(write(tmp_path / "m.jsonl", *first, *again)) == again


def test_an_empty_file_has_no_rows(tmp_path: Path) -> None:
    assert read_metrics(write(tmp_path / "m.jsonl", "")) == []


def test_non_finite_values_survive_reading_and_are_listed_apart_from_absent_ones(tmp_path: Path) -> None:
    path = write(
        tmp_path / "m.jsonl",
        {"step": 1, "loss": math.nan},
        {"step": 2},
        {"step": 3, "loss": math.inf},
        {"step": 4, "loss": 1},
    )
    run = payload("r", read_metrics(path))
    assert run["train"]["bad"] == {"loss": [0, 2]}
    json.dumps(run, allow_nan=False)
    assert summary("loss", read_metrics(path)) == "1.000 at step 4; 2 non-finite, the first at step 1."


def test_a_progression_packs_to_its_stride_and_the_rest_to_seven_digits() -> None:
    assert pack([8.0, 16.0, 24.0], "d") == {"from": 8.0, "by": 8.0}
    values = [10.397207708, 3.1, math.nan, 1e300]
    unpacked = struct.unpack("<4f", base64.b64decode(pack(values, "f")["f"]))
    assert unpacked[:2] == pytest.approx(values[:2], rel=1e-7)
    assert all(map(math.isnan, unpacked[2:]))
    json.dumps(pack([-1e308, 1e308], "d"), allow_nan=False)


def test_rows_without_a_step_are_left_out_and_other_numbers_get_a_chart() -> None:
    rows: list[dict[str, Any]] = [
        {"loss": 1.0},
        {"step": 1, "loss": 1.0, "kd_loss": 0.5, "note": "text"},
        {"step": math.nan, "loss": 2.0},
    ]
    assert [row["step"] for row in split(rows)[0]] == [1]
    assert chart_keys(split(rows)[0])[4:] == ["kd_loss"]


def test_a_summary_never_invents_a_number() -> None:
    assert summary("lr", [{"step": 1, "loss": 2.0}]) == "Nothing was logged."
    assert summary("loss", []) == "Nothing was logged."
