"""SIGTERM and SIGINT: remembered, so that the step in hand is finished and saved."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class Interrupt:
    """While entered, the first SIGTERM or SIGINT sets ``requested``; a second SIGINT ends the process at once."""

    def __init__(self) -> None:
        self.requested = False
        self._previous = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

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
