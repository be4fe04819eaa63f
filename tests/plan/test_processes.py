"""Real processes, told to stop, failing and killed: how they end together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from albor.plan.processes import FORWARDED, End, Processes

RANK = Path(__file__).with_name("rank.py")
ROOT = Path(__file__).parents[2]
KILLED = "was killed by SIGKILL; the machine may have run out of memory"
GOES_ON = "; the same command goes on from what was saved"


def ended(doings: str, logs: Path, *, forwarded: dict[signal.Signals, signal.Signals] = FORWARDED) -> End:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(RANK), doings]
    return Processes(command, environment, count=doings.count(",") + 1, logs=logs, forwarded=forwarded).run("the stage")


@pytest.mark.parametrize(
    ("doings", "code", "text"),
    [
        ("0,0", 0, ""),
        ("75,75", 75, ""),
        ("1:1,saysa", 2, "rank 1: error a"),
        ("saysa:1,saysa", 2, "error a"),
        ("saysa:1,saysb", 2, "rank 1: error b"),
        ("saysa,saysb:1", 2, "error a"),
        ("saysa:1,dies", 1, f"rank 1 {KILLED}"),
        ("dies,saysb:1", 1, f"rank 0 {KILLED}"),
        ("3,0", 1, "rank 0 ended with exit code 3"),
        ("0", 0, ""),
        ("2", 2, ""),
        ("7", 1, ""),
        ("dies", 1, f"the stage {KILLED}"),
    ],
)
def test_the_first_that_fails_is_named(doings: str, code: int, text: str, tmp_path: Path) -> None:
    end = ended(doings, tmp_path)
    assert (end.code, end.text.split("\n")[0]) == (code, text + GOES_ON * (KILLED in text))
    assert end.cause == text.replace("error", "cause") or "," not in doings


def test_the_end_of_what_a_killed_rank_wrote_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "rank-1.log"
    end = ended("0:1,dies", tmp_path)
    assert end.text.splitlines()[1:] == [f"  the end of {log}:", "  rank 1 of 2"]
    assert log.read_text() == "rank 1 of 2\n"
    assert list(tmp_path.iterdir()) == [log]


@pytest.mark.slow
@pytest.mark.parametrize("doings", ["waits,dies", "1,waits", "0,waits"])
def test_no_rank_waits_for_one_that_is_gone(doings: str, tmp_path: Path) -> None:
    began = time.monotonic()
    assert ended(doings, tmp_path).code == (0 if doings[0] == "0" else 1)
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(("number", "received"), [*FORWARDED.items()])
def test_signals_reach_every_rank(number: int, received: int, tmp_path: Path) -> None:
    def send() -> None:
        while len(list(tmp_path.glob("*.log"))) < 2 or not all(f.stat().st_size for f in tmp_path.glob("*.log")):
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(os.getpid(), number)

    inherited = signal.signal(number, signal.SIG_DFL)  # under nohup a hang-up is not heard, and that is right
    before = signal.getsignal(number)
    sender = threading.Thread(target=send)
    sender.start()
    assert ended("obeys,obeys,obeys", tmp_path) == End(75)
    sender.join()
    assert signal.getsignal(number) is before
    for rank in (1, 2):
        assert (tmp_path / f"rank-{rank}.log").read_text().splitlines()[1:] == [signal.Signals(received).name]
    signal.signal(number, inherited)


def test_a_process_that_is_stopped_before_it_can_answer_is_interrupted(tmp_path: Path) -> None:
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    assert ended("waits", tmp_path) == End(75, "interrupted; the same command goes on from here")


IMPORTING = """
import os, signal, sys, time
from albor.exec import run
class Slow:
    def find_spec(self, name, path, target=None):
        if name == "albor.worker":
            os.kill(os.getppid(), signal.SIGINT)
            time.sleep(60)
sys.meta_path.insert(0, Slow())
run()
"""


def test_an_interrupt_while_a_stage_imports_is_told(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = Processes([sys.executable, "-c", IMPORTING], environment, count=1, logs=tmp_path)
    assert processes.run("stage") == End(75, "interrupted; the same command goes on from here")


def test_rank_0_that_could_not_answer_is_spoken_for(tmp_path: Path) -> None:
    threading.Timer(1, os.kill, (os.getpid(), signal.SIGUSR1)).start()
    assert ended("waits,obeys", tmp_path) == End(75, "interrupted; the same command goes on from here")


@pytest.mark.slow
def test_a_second_interrupt_is_final(tmp_path: Path) -> None:
    """A rank that waits for another in torch answers no signal."""
    for seconds in (1, 2):
        threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
    swallowing = {signal.SIGINT: signal.SIGCONT}
    assert ended("waits", tmp_path, forwarded=swallowing).code == 75


STARTER = """
import os, sys
from pathlib import Path
from albor.plan.processes import Processes
command, logs = sys.argv[1:-1], Path(sys.argv[-1])
Processes([sys.executable, *command], dict(os.environ), count=3, logs=logs).run("")
"""


def test_the_ranks_end_when_what_started_them_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(RANK), "waits,waits,waits", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout
        pids = [int(starter.stdout.readline())]
        for log in (tmp_path / "rank-1.log", tmp_path / "rank-2.log"):
            until(lambda log=log: len(log.read_text().splitlines()) == 2)  # type: ignore[misc]
            pids.append(int(log.read_text().splitlines()[1]))
        assert all(map(alive, pids))
        starter.kill()
    until(lambda: not any(map(alive, pids)))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


SLURM = {
    "SLURM_JOB_ID": "4711",
    "SLURM_STEP_ID": "2",
    "SLURM_NTASKS": "16",
    "SLURM_PROCID": "9",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NODELIST": "gpu[07-08]",
}


@pytest.mark.parametrize(
    ("changes", "printed"),
    [
        ({}, "rank 9 of 16"),
        ({"RANK": "3", "WORLD_SIZE": "4"}, "rank 3 of 4"),  # torchrun in a step, or albor itself
        ({"SLURM_STEP_NUM_TASKS": "1"}, "rank 0 of 1"),  # a step within a larger job
        ({"SLURM_STEP_ID": None}, "rank 0 of 1"),  # the batch script
    ],
)
def test_who_says_which_rank_this_is(changes: dict[str, str | None], printed: str) -> None:
    given = {**os.environ, **SLURM, "PYTHONPATH": str(ROOT), **changes}
    environment = {key: value for key, value in given.items() if value is not None}
    command = [sys.executable, str(RANK), ",".join(["0"] * 16)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr.strip() == printed
