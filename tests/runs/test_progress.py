"""What a stage's progress looks like: plain lines, and a bar on a terminal."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable
from typing import Any

import pytest
import rich.console
import rich.progress

from albor.runs import progress
from albor.runs.progress import PLAIN_INTERVAL, Progress


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


class Lines:
    """Standard error, which is no terminal."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self.capsys = capsys
        self.read = ""

    def getvalue(self) -> str:
        self.read += self.capsys.readouterr().err
        return self.read


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


def test_the_first_line_comes_after_two_seconds(clock: Clock, lines: Lines) -> None:
    with Progress("pack") as report:
        clock.now = 101.999
        report(1, 10)
        assert lines.getvalue() == ""
        clock.now = 102.0
        report(2, 10)
    assert lines.getvalue() == "  pack 2/10\n"


@pytest.mark.parametrize(
    ("done", "total", "text", "line"),
    [
        (1234.4, 56789.0, "documents", "  pack 1,234/56,789  documents\n"),
        (1234.4, 56789.0, "", "  pack 1,234/56,789\n"),
        (1234.4, 0, "documents", "  pack 1,234  documents\n"),
        (0, 0, "", "  pack 0\n"),
    ],
)
def test_a_line_says_how_much_of_how_much(
    done: float, total: float, text: str, line: str, clock: Clock, lines: Lines
) -> None:
    with Progress("pack") as report:
        clock.now += 3
        report(done, total, text)
        assert lines.getvalue() == line


def test_lines_come_every_ten_seconds(clock: Clock, lines: Lines) -> None:
    with Progress("pack") as report:
        clock.now = 105.0
        report(1, 10)
        clock.now = 105.0 + PLAIN_INTERVAL - 0.001
        report(2, 10)
        assert lines.getvalue() == "  pack 1/10\n"
        clock.now = 105.0 + PLAIN_INTERVAL
        report(3, 10)
        assert lines.getvalue() == "  pack 1/10\n  pack 3/10\n"
    assert PLAIN_INTERVAL == 10
    assert lines.getvalue() == "  pack 1/10\n  pack 3/10\n", "what was said last is not said again at the end"


def test_a_line_is_not_repeated(clock: Clock, lines: Lines) -> None:
    with Progress("pack") as report:
        for _ in range(5):
            clock.now += 60
            report(1, 10)
    assert lines.getvalue() == "  pack 1/10\n"


def test_the_end_is_told_to_who_saw_a_line_before(clock: Clock, lines: Lines) -> None:
    with Progress("pack") as report:
        clock.now += 60
        report(1, 10)
        report(9, 10)
        report(10, 10, "rows")
    assert lines.getvalue() == "  pack 1/10\n  pack 10/10  rows\n"


def test_what_was_short_says_nothing(clock: Clock, lines: Lines) -> None:
    with Progress("pack") as report:
        report(10, 10)
    with Progress("prepare"):
        clock.now += 60
    assert lines.getvalue() == ""


def test_a_line_is_out_at_once(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log is read while the run goes on."""
    below = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(below, encoding="utf-8"))
    with Progress("pack") as report:
        clock.now += 60
        report(1, 10)
        assert below.getvalue() == b"  pack 1/10\n"
        report(2, 10)
    assert below.getvalue() == b"  pack 1/10\n  pack 2/10\n"


class Shown(rich.progress.Progress):
    """rich's bar, and what it was made with."""

    made: Shown

    def __init__(self, *columns: Any, **options: Any) -> None:
        super().__init__(*columns, **options)
        self.options = options
        Shown.made = self

    def going(self) -> bool:
        return self.live.is_started

    def state(self) -> tuple[float, float | None, dict[str, Any]]:
        (task,) = self.tasks
        return task.completed, task.total, task.fields

    def picture(self) -> str:
        """The bar as it is now, for a terminal that knows colours only."""
        console = rich.console.Console(
            file=io.StringIO(), width=100, record=True, force_terminal=True, color_system="standard"
        )
        console.print(self.make_tasks_table(self.tasks))
        return console.export_text(styles=False).rstrip()


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], Lines]:
    """Makes standard error a terminal of 80 columns; pytest puts another in its place between fixture and test."""

    def here() -> Lines:
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
        monkeypatch.setattr(rich.progress, "Progress", Shown)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("TERM", "xterm")
        return Lines(capsys)

    return here


def test_a_bar_on_a_terminal(terminal: Callable[[], Lines]) -> None:
    drawn = terminal()
    with Progress("pack") as report:
        bar = Shown.made
        assert bar.going()
        report(25, 100, "[12 of 48 files]")
        (task,) = bar.tasks
        assert (task.description, task.completed, task.total) == ("pack", 25, 100)
        picture = bar.picture()
        assert re.fullmatch(r"  pack       ━{7}[╸╺]━{22}  25% 0:00:0\d -:--:-- \[12 of 48 files\]", picture)
    assert not bar.going()
    assert bar.console.stderr
    assert bar.live.transient and bar.live.refresh_per_second == 4
    text = drawn.getvalue()
    assert "pack" in text and "%" in text
    assert "pack 25/100" not in text, "the bar stands for the lines"


def test_a_bar_with_an_unknown_end_says_how_much_is_done(terminal: Callable[[], Lines]) -> None:
    terminal()
    with Progress("prepare") as report:
        bar = Shown.made
        assert bar.state() == (0, None, {"text": ""})
        report(12345.6, 0, "documents")
        assert bar.state() == (12345.6, None, {"text": "12,346 documents"})
        report(12346, 20000, "documents")
        assert bar.state() == (12346, 20000, {"text": "documents"})


def test_columns_of_the_bar(terminal: Callable[[], Lines]) -> None:
    terminal()
    Progress("pack")
    kinds = [type(column).__name__ for column in Shown.made.columns]
    assert kinds == ["TextColumn", "BarColumn", "TextColumn", "TimeElapsedColumn", "TimeRemainingColumn", "TextColumn"]
    assert not Shown.made.live.is_started, "it starts with the block"
