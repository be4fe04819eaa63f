"""A thread that looks at something by the clock, not by the step, for as long as its block lasts."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

EVERY = 5.0
"""Seconds between two looks."""


class Lookout(threading.Thread, ABC):
    """Calls ``look`` every few seconds from a daemon thread, if there is anything to look at."""

    def __init__(self, name: str, *, every: float, needed: bool) -> None:
        super().__init__(name=name, daemon=True)
        self.every, self._needed = every, needed
        self._ended = threading.Event()

    @abstractmethod
    def look(self) -> bool:
        """One look; whether another is wanted."""

    def run(self) -> None:
        while not self._ended.wait(self.every) and self.look():
            pass

    def __enter__(self) -> Self:
        if self._needed:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        if self.is_alive():
            self.join(2 * self.every)
