"""What is said of jobs as long as none of them ends."""

from __future__ import annotations

import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.render import plural
from albor.config.units import human_seconds

if TYPE_CHECKING:
    from albor.executors.jobs import Job

FIRST_NEWS, LAST_NEWS = 10.0, 600.0
"""Seconds of silence after which it is said what is under way, at first and when that has been said often."""
NAMED = 4
"""Jobs of which it is said what they printed last."""


class Silence:
    """Says what jobs are doing when nothing has been said of them for a while, less and less often."""

    def __init__(self, place: Path) -> None:
        self._logs = place / "logs"
        self._began, self._began_clock = time.monotonic(), time.time()
        self._said_where = False
        self.broken()

    def broken(self) -> None:
        """Something has been said."""
        self._since, self._wait = time.monotonic(), FIRST_NEWS

    def look(self, running: Collection[Job], waiting: int) -> None:
        """Says it, if it is time to."""
        now = time.monotonic()
        if not running or now < self._since + self._wait:
            return
        self._since, self._wait = now, min(2 * self._wait, LAST_NEWS)
        more = f", {waiting} to come" if waiting else ""
        where = "" if self._said_where else f"; their output: {self._logs}"
        self._said_where = True
        print(
            f"after {human_seconds(round(now - self._began))}: {plural(len(running), 'job')}{more}{where}",
            file=sys.stderr,
        )
        for job in list(running)[:NAMED]:
            print(f"  {job.name}  {last_line(job.log, self._began_clock) or 'has not begun'}", file=sys.stderr)
        if len(running) > NAMED:
            print(f"  and {len(running) - NAMED} more", file=sys.stderr)
        sys.stderr.flush()


def last_line(log: Path, since: float) -> str:
    """What was written last to a file; nothing when that was before ``since`` (seconds since 1970)."""
    try:
        if log.stat().st_mtime < since:
            return ""
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.split("\r")[-1].strip() for line in reversed(lines) if line.strip()), "")
