"""Metrics read as they grow: each line once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from albor.runs import tail
from albor.runs.metrics import NAME
from albor.runs.tail import Tail, parsed


def look(tailed: Tail) -> tuple[bool, list[dict[str, Any]]]:
    anew, rows = tailed.poll()
    return anew, list(rows)


def append(directory: Path, text: str) -> None:
    with (directory / NAME).open("a", encoding="utf-8") as file:
        file.write(text)


def test_each_line_is_read_once(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    append(tmp_path, '{"step": 1}\n{"step": 2}\n')
    assert look(tailed) == (False, [{"step": 1}, {"step": 2}])
    assert look(tailed) == (False, [])
    append(tmp_path, '{"step": 3}\n')
    assert look(tailed) == (False, [{"step": 3}])
    append(tmp_path, '{"step": 4}\n')
    assert look(tailed) == (False, [{"step": 4}])


def test_a_line_that_is_being_written_comes_when_it_is_whole(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    for text, rows in (
        ('{"step"', []),
        (": 1", []),
        ("1}", []),
        ('\n{"st', [{"step": 11}]),
        ('ep": 2}\n', [{"step": 2}]),
    ):
        append(tmp_path, text)
        assert look(tailed) == (False, rows)


def test_what_is_no_line_of_metrics_is_skipped(tmp_path: Path) -> None:
    append(tmp_path, '{"step": 1}\n{"ste\n\n[1]\nnull\n{"step": 2}\n')
    assert look(Tail(tmp_path)) == (False, [{"step": 1}, {"step": 2}])
    assert (parsed(b"{}"), parsed(b"[]"), parsed(b"{"), parsed(b"")) == ({}, None, None, None)


@pytest.mark.parametrize("block", [1, 2, 7, 16, 1 << 20])
def test_blocks_end_anywhere(block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "BLOCK", block)
    rows = [{"step": step, "text": "é" * step} for step in range(9)]
    append(tmp_path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    assert look(Tail(tmp_path)) == (False, rows)


def test_it_reads_as_far_as_somebody_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However long the file is, a block of it is in memory."""
    monkeypatch.setattr(tail, "BLOCK", 1)
    append(tmp_path, '{"step": 1}\n{"step": 2}\n{"step": 3}\n')
    tailed = Tail(tmp_path)
    _, rows = tailed.poll()
    assert next(rows) == {"step": 1}
    assert look(tailed) == (False, [{"step": 2}, {"step": 3}])


def test_a_file_that_comes_later_is_not_another(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    assert look(tailed) == (False, []) == look(tailed)
    append(tmp_path, '{"step": 1}\n')
    assert look(tailed) == (False, [{"step": 1}])


def test_a_file_that_went_is_another_once(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    append(tmp_path, '{"step": 1}\n{"st')
    look(tailed)
    (tmp_path / NAME).unlink()
    assert look(tailed) == (True, [])
    assert look(tailed) == (False, []), "it was told"
    append(tmp_path, '{"step": 5}\n{"step": 6}\n')
    assert look(tailed) == (False, [{"step": 5}, {"step": 6}]), "from the beginning, and without the torn line"


def test_a_run_that_started_anew_is_read_from_the_beginning(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    append(tmp_path, '{"step": 1}\n{"st')
    look(tailed)
    (tmp_path / "fresh").write_text('{"step": 7}\n{"step": 8}\n{"step": 9}\n')
    (tmp_path / "fresh").rename(tmp_path / NAME)
    assert look(tailed) == (True, [{"step": 7}, {"step": 8}, {"step": 9}])
    assert look(tailed) == (False, [])


def test_a_file_that_was_cut_is_read_from_the_beginning(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    append(tmp_path, '{"step": 1}\n{"step": 2}\n')
    look(tailed)
    (tmp_path / NAME).write_text('{"step": 3}\n')
    assert look(tailed) == (True, [{"step": 3}])
    (tmp_path / NAME).write_text('{"step": 4}\n')
    assert look(tailed) == (False, []), "of the same length, it cannot be told"


def test_lines_that_nobody_took_come_again(tmp_path: Path) -> None:
    tailed = Tail(tmp_path)
    append(tmp_path, '{"step": 1}\n')
    tailed.poll()
    assert look(tailed) == (False, [{"step": 1}])


def test_it_reads_the_metrics_of_a_run(tmp_path: Path) -> None:
    assert Tail(tmp_path).path == tmp_path / "metrics.jsonl"
