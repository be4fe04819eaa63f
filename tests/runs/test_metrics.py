"""metrics.jsonl: what a line holds, and that lines are whole."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from albor.runs.metrics import NAME, MetricsLog


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1700000000.123456)


def test_a_line_is_its_time_and_its_metrics(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log({"step": 1, "loss": 2.5, "name": "é"})
    assert (tmp_path / "metrics.jsonl").read_bytes() == (
        b'{"time": 1700000000.123, "step": 1, "loss": 2.5, "name": "\\u00e9"}\n'
    )


def test_numbers_that_json_does_not_know_are_null(tmp_path: Path) -> None:
    values: dict[str, float | str] = {
        "a": float("nan"),
        "b": float("inf"),
        "c": float("-inf"),
        "d": -0.0,
        "e": 1e308,
        "f": "nan",
        "g": 10**400,
    }
    with MetricsLog(tmp_path) as log:
        log(values)
    row = json.loads((tmp_path / NAME).read_text())
    assert row == {"time": 1700000000.123, "a": None, "b": None, "c": None} | {k: values[k] for k in "defg"}


def test_a_time_that_is_given_holds(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        log({"time": 5.0, "step": 1})
    assert (tmp_path / NAME).read_text() == '{"time": 5.0, "step": 1}\n'


@pytest.mark.usefixtures("other_encoding")
@pytest.mark.parametrize(
    ("before", "after"),
    [(None, ""), (b"", ""), (b"{}\n", "{}\n"), (b"{", "{\n"), ('{"é'.encode(), '{"é\n'), (b"\n", "\n")],
)
def test_only_a_torn_line_is_ended(before: bytes | None, after: str, tmp_path: Path) -> None:
    if before is not None:
        (tmp_path / NAME).write_bytes(before)
    with MetricsLog(tmp_path) as log:
        log({"step": 1})
    assert (tmp_path / NAME).read_bytes().decode() == after + '{"time": 1700000000.123, "step": 1}\n'


def test_a_line_is_there_as_soon_as_it_is_logged(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:
        for step in range(3):
            log({"step": step, "text": "x" * 5000 * step})
            assert json.loads((tmp_path / NAME).read_text().splitlines()[-1])["step"] == step


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    with MetricsLog(tmp_path) as log:

        def work(number: int) -> None:
            for line in range(50):
                log({"thread": number, "line": line})

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = [json.loads(line) for line in (tmp_path / NAME).read_text().splitlines()]
    assert sorted((row["thread"], row["line"]) for row in rows) == [(n, i) for n in range(4) for i in range(50)]


def test_after_the_block_the_file_is_closed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), MetricsLog(tmp_path) as log:
        raise RuntimeError
    with pytest.raises(ValueError, match="closed"):
        log({"step": 1})
