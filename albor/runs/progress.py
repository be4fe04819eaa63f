"""How far a stage is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

PLAIN_INTERVAL = 10.0
"""Seconds between plain lines."""


class Progress:
    """One stage's progress. ``total`` 0 means that the end is not known."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: Any = None
        self._task: Any = None
        self._next = time.monotonic() + 2.0
        self._last = self._latest = ""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("  {task.description:<10}"),
                BarColumn(bar_width=30),
                TextColumn("{task.percentage:>3.0f}%"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("[dim]{task.fields[text]}"),
                console=Console(stderr=True),
                refresh_per_second=4,
                transient=True,
            )
            self._task = self._bar.add_task(title, total=None, text="")

    def __call__(self, done: float, total: float, text: str = "") -> None:
        """Reports ``done`` of ``total``; ``text`` says what the numbers are."""
        if self._bar is not None:
            shown = text if total else f"{done:,.0f} {text}"
            self._bar.update(self._task, completed=done, total=total or None, text=shown)
            return
        now = time.monotonic()
        line = f"  {self.title} {done:,.0f}" + (f"/{total:,.0f}" if total else "") + (f"  {text}" if text else "")
        self._latest = line
        if now >= self._next and line != self._last:
            print(line, file=sys.stderr, flush=True)
            self._next, self._last = now + PLAIN_INTERVAL, line

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if self._bar is not None:
            self._bar.stop()
        elif self._last and self._latest != self._last:  # who saw how far it was is to see how far it came
            print(self._latest, file=sys.stderr, flush=True)
