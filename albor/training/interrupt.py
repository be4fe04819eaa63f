"""Signals that end a run in order: remembered, so that the step in hand is finished and saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self

NUMBERS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""SIGUSR1 is what Slurm is usually told to send before a job's time is over or its nodes are taken."""


class Interrupt:
    """While entered, the first of these signals sets ``requested``; a second SIGINT ends the process at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous = {number: signal.getsignal(number) for number in NUMBERS}

    def __enter__(self) -> Self:
        self.install()
        return self

    def install(self) -> None:
        """Takes the signals, also back from whoever took them in between."""
        if threading.current_thread() is threading.main_thread():  # Python allows handlers nowhere else
            for number in self._previous:
                signal.signal(number, self._receive)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._previous.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.requested = True
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
