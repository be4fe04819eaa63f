"""How far a stage is: plain lines where nobody watches, a bar on a terminal."""

from __future__ import annotations

import io
import sys

import pytest

from albor.runs import progress
from albor.runs.progress import PLAIN_INTERVAL, Progress


class Clock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_lines_come_now_and_then_and_the_last_one_always(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("pack") as bar:
        bar(1, 10)
        clock.now = 3
        bar(2, 10, "rows")
        clock.now = 4
        bar(3, 10, "rows")
        clock.now += PLAIN_INTERVAL
        bar(3000, 10000, "rows")
        bar(10000, 10000, "rows")
    assert capsys.readouterr().err.splitlines() == [
        "  pack 2/10  rows",
        "  pack 3,000/10,000  rows",
        "  pack 10,000/10,000  rows",
    ]


def test_what_ends_at_once_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("pack") as bar:
        bar(1, 1)
    assert capsys.readouterr().err == ""


def test_an_end_that_is_not_known_is_not_told(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("ingest") as bar:
        clock.now = 3
        bar(1234, 0)
    assert capsys.readouterr().err == "  ingest 1,234\n"


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("pack") as bar:
        bar(1234, 0, "rows")
        bar(1, 4, "1 of 4 files")
    shown = terminal.getvalue()
    assert "pack" in shown and "25%" in shown and "1 of 4 files" in shown and "━" in shown
