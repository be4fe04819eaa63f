"""Jobs: whole processes that work for minutes or days, wherever they run: this machine, Slurm, a Ray cluster.

A job is a command and needs nothing but the files that it names. What an executor's ``map`` is to a data task, a
``Jobs`` is to a point of a sweep.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from albor.executors.tasks import cores, ending
from albor.runs.world import LIFELINE

POLL = 0.05
"""Seconds between looks at the processes of this machine."""
GRACE = 10.0
"""Seconds that killed jobs have to save."""


@dataclass(frozen=True)
class Job:
    """One command and where it writes."""

    name: str
    """Tells it from the others, and is the same when it is started again."""
    command: tuple[str, ...]
    log: Path
    """Where its output is appended."""


@dataclass(frozen=True)
class Ended:
    """How a job ended."""

    name: str
    code: int | None
    """Its exit code; None when it was killed, or lost."""
    cause: str = ""
    """Why there is no exit code."""


@dataclass(frozen=True)
class Shape:
    """What a job needs for its largest training."""

    nodes: int = 1
    processes: int = 1
    """Ranks on each node."""
    gpus: int = 0
    """On each node."""


class Jobs(Protocol):
    """Runs jobs. Belongs to the thread that opened it."""

    @property
    def slots(self) -> int | None:
        """Jobs that are taken at a time; None takes them all and sees to it that not too many run."""

    def start(self, jobs: Sequence[Job]) -> None:
        """Starts them. Raises AlborError when they are not taken."""

    def ended(self, seconds: float) -> list[Ended]:
        """Those that have ended since the last call; waits so long for one."""

    def withdraw(self) -> None:
        """Drops jobs that wait for a place; those that run are not touched."""

    def close(self) -> None:
        """Ends what is running."""


class LocalJobs:
    """Jobs as processes of this machine."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, jobs: Sequence[Job]) -> None:
        """See ``Jobs.start``. The cores are shared among as many jobs as run at a time."""
        for job in jobs:
            self._running[job.name] = begin(job, {"OMP_NUM_THREADS": str(max(1, cores() // self.slots))} | os.environ)

    def ended(self, seconds: float) -> list[Ended]:
        """See ``Jobs.ended``."""
        until = time.monotonic() + seconds
        while True:
            over = [name for name, process in self._running.items() if process.poll() is not None]
            if over or time.monotonic() >= until:
                return [end(name, self._running.pop(name).returncode) for name in over]
            time.sleep(POLL)

    def withdraw(self) -> None:
        """See ``Jobs.withdraw``. None waits."""

    def close(self) -> None:
        """See ``Jobs.close``."""
        finish(self._running.values())
        self._running.clear()


def begin(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Starts a job here. Its standard input ends with this process, and so does the job."""
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with job.log.open("ab") as log:
        return subprocess.Popen(
            job.command,
            env={**environment, LIFELINE: "1"},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,  # a terminal's Ctrl-C comes to this process alone, which decides what it means
        )


def end(name: str, code: int) -> Ended:
    return Ended(name, code) if code >= 0 else Ended(name, None, ending(code))


def finish(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Ends jobs: all are told at once, and those killed that do not listen."""
    for process in processes:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
    until = time.monotonic() + GRACE
    for process in processes:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
