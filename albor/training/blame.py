"""What every rank says of itself while it trains, and which one is at fault when nothing moves any more."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import FrameType

WAITING = ("waiting for the other ranks", "waiting for the device")
"""Phases in which a rank may stand still because another does: a collective runs on the device."""
COLLECTIVES = ("torch/distributed/", "torch/nn/parallel/", "torch/autograd/graph.py")
"""Where a thread stands that waits for another rank without having said so: DDP adds gradients up inside backward."""


@dataclass(frozen=True, kw_only=True)
class Sign:
    """A rank's sign of life."""

    rank: int
    host: str = ""
    pid: int = 0
    phase: str = "starting"
    step: int = 0
    """The last step done."""
    age: float
    """Seconds since its last beat."""
    limit: float
    """Seconds without a beat that are a hang."""
    waiting: bool = False
    """Whether it stands where another rank can hold it up."""
    silent: float = 0.0
    """Seconds since it last wrote: a process that is well writes all the time."""


def exchange(directory: Path, own: Sign, world_size: int, *, start_timeout: float) -> list[Sign]:
    """Writes this rank's sign and reads the others'; a rank without one has been starting as long as this one.

    How old a file is, is told by the times of files, which one file system keeps for all hosts. Raises OSError.
    """
    now = write(directory, own)
    signs = [own]
    for rank in range(world_size):
        if rank != own.rank:
            found = _read(directory / f"rank-{rank}.json", now)
            signs.append(found or Sign(rank=rank, age=own.age, limit=start_timeout, silent=own.age))
    return signs


def write(directory: Path, sign: Sign) -> float:
    """Whole or not at all, but without fsync: after a power cut nobody asks. Gives the time of the file.

    Raises OSError.
    """
    path = directory / f"rank-{sign.rank}.json"
    beside = path.with_suffix(".tmp")
    beside.write_text(json.dumps(asdict(sign)), encoding="utf-8")
    beside.replace(path)
    return path.stat().st_mtime


def _read(path: Path, now: float) -> Sign | None:
    try:
        sign = Sign(**json.loads(path.read_text(encoding="utf-8")))
        silent = max(0.0, now - path.stat().st_mtime)
    except (FileNotFoundError, ValueError, TypeError):
        return None
    return replace(sign, age=sign.age + silent, silent=silent)


def verdict(signs: Sequence[Sign], *, mine: int, grace: float) -> tuple[int, str] | None:
    """The rank at fault and what is to be said of it; None while all may still be well.

    ``mine`` is the rank that asks: it may speak of itself at once and of others only ``grace`` seconds later, when they
    had the time to speak. Silent for longer than ``grace`` is dead or frozen.
    """
    overdue = [sign for sign in signs if sign.age > sign.limit + (0 if sign.rank == mine else grace)]
    dead = [sign for sign in overdue if sign.silent > grace]
    if dead:
        return dead[0].rank, _silence(dead[0])
    busy = sorted((sign for sign in signs if not sign.waiting), key=lambda sign: (sign.step, -sign.age))
    if busy:
        first = busy[0]
        return (first.rank, f"rank {first.rank} has been {_doing(first)}") if first in overdue else None
    if len(overdue) < len(signs):
        return None
    if len(signs) == 1:
        return mine, f"rank {mine} has been {_doing(signs[0])}"
    latest = min(signs, key=lambda sign: sign.age)
    waited = f"for {latest.age:.0f} s (after step {latest.step})"
    return mine, f"all {len(signs)} ranks have been waiting for each other or for their devices {waited}"


def _doing(sign: Sign) -> str:
    return f"{sign.phase} for {sign.age:.0f} s (after step {sign.step})"


def _silence(sign: Sign) -> str:
    if not sign.pid:
        return f"rank {sign.rank} has not started for {sign.age:.0f} s"
    gone = f"rank {sign.rank} (process {sign.pid} on {sign.host}) has given no sign of life for {sign.silent:.0f} s"
    return f"{gone}; it was last seen {sign.phase} (after step {sign.step})"


def in_collective(thread: int) -> bool:
    """Whether the Python thread of this id stands in a collective, or in a backward that may be in one."""
    frame: FrameType | None = sys._current_frames().get(thread)
    place = frame.f_code.co_filename.replace(os.sep, "/") if frame else ""
    return any(part in place for part in COLLECTIVES)
