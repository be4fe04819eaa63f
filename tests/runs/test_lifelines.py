"""A process that ends with its starter, and what one that stopped moving leaves."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from albor.runs import world
from albor.runs.world import hang, hang_text


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    own = {name: value for name, value in os.environ.items() if name != world.LIFELINE}
    monkeypatch.setattr(os, "environ", own)


class Killing:
    """Stands for os: the process group lives on, and standard input ends when the test says so."""

    def __init__(self) -> None:
        self.environ = os.environ
        self.starter = threading.Event()
        self.killed: list[tuple[int, int]] = []
        self.read_from: list[tuple[int, int]] = []

    def read(self, descriptor: int, size: int) -> bytes:
        self.read_from.append((descriptor, size))
        self.starter.wait(10)
        return b""

    def killpg(self, group: int, number: int) -> None:
        self.killed.append((group, number))


def test_a_process_dies_with_its_starter(monkeypatch: pytest.MonkeyPatch) -> None:
    killing = Killing()
    monkeypatch.setattr(world, "os", killing)
    os.environ[world.LIFELINE] = "1"
    assert world.die_with_starter()
    assert world.LIFELINE not in os.environ, "what this process starts has another standard input"
    (thread,) = [t for t in threading.enumerate() if t.name == "lifeline"]
    assert thread.daemon and killing.killed == []
    killing.starter.set()
    thread.join(10)
    assert killing.read_from == [(0, 1)]
    assert killing.killed == [(0, signal.SIGKILL)], "its whole group"


def test_without_a_lifeline_nothing_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    killing = Killing()
    monkeypatch.setattr(world, "os", killing)
    assert not world.die_with_starter()
    assert not [t for t in threading.enumerate() if t.name == "lifeline"]
    assert killing.read_from == []


def test_what_a_hang_says() -> None:
    assert hang_text("rank 1 has not moved for 10min", Path("run/heartbeat/hang-rank-1.txt")) == (
        "error[E-HANG] rank 1 has not moved for 10min\n"
        "  --> run/heartbeat/hang-rank-1.txt\n"
        "  help: the stacks lie there; the same command goes on from the last checkpoint. "
        "If it was slow and did not hang: trainer.hang_after=10min"
    )


@pytest.mark.usefixtures("other_encoding")
def test_what_a_hang_leaves(tmp_path: Path) -> None:
    assert hang(tmp_path) is None
    place = tmp_path / "heartbeat"
    place.mkdir()
    (place / "rank-0.txt").write_bytes(b"alive")
    (place / "hang-rank-0.txt").write_bytes(b"")
    assert hang(tmp_path) is None, "nothing was written: it lives"
    for rank in (2, 1):
        (place / f"hang-rank-{rank}.txt").write_bytes(b"stack")
    assert hang(tmp_path) == (None, place / "hang-rank-1.txt")
    (place / "hang.txt").write_bytes("rank 1 hängt\n".encode())
    assert hang(tmp_path) == ("rank 1 hängt", place / "hang-rank-1.txt")
