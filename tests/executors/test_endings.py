"""No task outlives what it is for: its map, its process's parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.slurm import NEEDS_SLURM
from tests.executors.conftest import RAY

PATIENCE = 60.0
"""Seconds after which a test gives up; none takes a tenth of it."""


def until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.02)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not asked for its exit code does not."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text() if Path("/proc/self/stat").exists() else ""
    except (ProcessLookupError, FileNotFoundError):
        return False
    return ") Z " not in state


class Family:
    """A parent in a process group of its own, and the processes that its tasks said they run in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "pids"
        self.directory.mkdir()
        self.parent: subprocess.Popen[str] | None = None

    def start(self, kind: str, *numbers: int) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.executors.parent", kind, str(self.directory), *map(str, numbers)]
        pipe = subprocess.PIPE
        self.parent = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        return self.parent

    def pids(self) -> list[int]:
        return [int(text) for path in self.directory.glob("*.pid") if (text := path.read_text())]

    def wait_for(self, count: int) -> list[int]:
        until(lambda: len(self.pids()) >= count)
        return self.pids()


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    made = Family(tmp_path)
    yield made
    if made.parent:
        for pid in [*made.pids(), made.parent.pid]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        made.parent.communicate()


@pytest.mark.parametrize(
    ("kind", "number"),
    [
        ("local", signal.SIGINT),
        ("local", signal.SIGTERM),
        pytest.param("slurm", signal.SIGINT, marks=NEEDS_SLURM),
        pytest.param("slurm", signal.SIGTERM, marks=[*NEEDS_SLURM, pytest.mark.slow]),
        pytest.param("ray", signal.SIGINT, marks=[*RAY, pytest.mark.slow]),
        pytest.param("ray", signal.SIGTERM, marks=[*RAY, pytest.mark.slow]),
    ],
)
def test_an_interrupt_stops_the_tasks(kind: str, number: int, family: Family, request: pytest.FixtureRequest) -> None:
    if kind == "slurm":
        request.getfixturevalue("slurm")
    parent = family.start(kind, 1, 2, 3, 4)
    started = 4 if kind == "slurm" else 2
    pids = family.wait_for(started)
    if number == signal.SIGINT and kind == "local":
        os.killpg(parent.pid, number)  # as a terminal does
    else:
        parent.send_signal(number)
    _, err = parent.communicate(timeout=PATIENCE)
    assert parent.returncode not in (0, -signal.SIGTERM)
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert err.count("Traceback") == 1
    until(lambda: not any(map(alive, pids)))
    assert len(family.pids()) == started, "what had not begun does not begin"


@pytest.mark.parametrize("kind", ["local", "watcher", pytest.param("ray", marks=[*RAY, pytest.mark.slow])])
def test_a_parent_that_is_killed_leaves_nothing_behind(kind: str, family: Family) -> None:
    parent = family.start(kind, 1, 2)
    pids = family.wait_for(1 if kind == "watcher" else 2)
    assert all(map(alive, pids))
    parent.kill()
    until(lambda: not any(map(alive, pids)))


def test_a_failing_task_stops_the_others(family: Family) -> None:
    parent = family.start("local", 1, 0, 2)
    assert parent.stdout
    assert parent.stdout.readline() == "failed: no. 0\n"
    assert len(family.pids()) == 2 and not any(map(alive, family.pids()))
