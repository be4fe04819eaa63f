"""Processes that stop moving: really started, really stuck."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from albor.runs import manifest
from albor.training.blame import Sign, verdict
from tests.command import albor

PROGRAM = Path(__file__).parent / "hanging.py"
ROOT = Path(__file__).parents[2]


def run(directory: Path, how: str, *, ranks: int = 1, timeout: float = 2.0) -> subprocess.CompletedProcess[str]:
    program = [str(PROGRAM), str(directory), how, str(timeout)]
    launcher = [] if ranks == 1 else ["-m", "torch.distributed.run", f"--nproc-per-node={ranks}"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *launcher, *program], capture_output=True, text=True, env=environment, timeout=120, check=False
    )


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "error[E-HANG]" in line]


def test_a_loader_that_hangs_is_named_and_its_stack_is_there(tmp_path):
    done = run(tmp_path, "loader")
    assert done.returncode == 1
    [line] = said(done)
    assert line.startswith("error[E-HANG] rank 0 has been reading the next batch for 2 s (after step 3)")
    assert "help: " in done.stderr and str(tmp_path / "hang-rank-0.txt") in done.stderr
    assert "asleep_in_the_loader" in (tmp_path / "hang-rank-0.txt").read_text()
    # Whoever was told did not answer; that was not waited for.
    assert "reading the next batch" in (tmp_path / "told-0.txt").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "named", "stacks"),
    [
        ("forward", "rank 1 has been computing for", {0: "backward", 1: "asleep_in_forward"}),
        ("loader", "rank 1 has been reading the next batch for", {0: "backward", 1: "asleep_in_the_loader"}),
        ("locked", "has given no sign of life for", {0: "backward", 1: "hanging.py"}),
        ("frozen", "has given no sign of life for", {0: "backward"}),
    ],
)
def test_the_rank_at_fault_is_named_not_the_one_that_waits_for_it(tmp_path, how, named, stacks):
    done = run(tmp_path, how, ranks=2)
    assert done.returncode == 1
    [line] = said(done)
    assert named in line and "rank 1" in line and "(after step " in line
    seconds = re.search(r"for (\d+) s", line)
    assert seconds is not None and int(seconds[1]) < 60, "as long as a save may take, which it has left"
    for rank, function in stacks.items():
        assert function in (tmp_path / f"hang-rank-{rank}.txt").read_text()
    assert len(list(tmp_path.glob("told-*.txt"))) == 1


@pytest.mark.slow
def test_a_call_that_keeps_the_global_lock_ends_too(tmp_path):
    done = run(tmp_path, "locked")
    assert done.returncode == 1
    stack = (tmp_path / "hang-rank-0.txt").read_text()
    assert "Timeout" in stack and "hanging.py" in stack


@pytest.mark.slow
def test_what_is_merely_slow_lives(tmp_path):
    """Steps of 0.3 s, then of 2.5 s with a timeout of 1 s: ten times the longest gap are allowed."""
    done = run(tmp_path, "slow", timeout=1.0)
    assert (done.returncode, done.stdout.split()[-1]) == (0, "5"), done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing is left of a run that ended well"


HANGING_LOADER = """
import ctypes, time
from albor.data.loader import Batches
whole = Batches.__iter__
def hanging(self):
    for number, batch in enumerate(whole(self)):
        if number == 3:
            {sleep}(600)
        yield batch
Batches.__iter__ = hanging
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sleep", "cause"),
    [
        ("time.sleep", "rank 0 has been reading the next batch for 2 s (after step 3)"),
        ("ctypes.PyDLL(None).sleep", "pretrain made no progress, in a call that kept Python's global lock"),
    ],
)
def test_a_run_whose_loader_hangs_fails_and_says_why(tmp_path, sleep, cause):
    """The command itself; the loader is made to hang as the process starts."""
    (tmp_path / "sitecustomize.py").write_text(HANGING_LOADER.format(sleep=sleep))
    command = ["stage=pretrain", "debug=default", "tracking=none", "data.max_documents=60", "trainer.hang_after=2"]
    done = albor(*command, cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    [line] = said(done)
    assert line == f"error[E-HANG] {cause}"
    [directory] = (tmp_path / "outputs/pretrain").iterdir()
    stored = manifest.load(directory)
    assert (stored.status, stored.error) == ("failed", cause)
    assert "sitecustomize.py" in (directory / "heartbeat/hang-rank-0.txt").read_text()


def sign(rank: int, phase: str, age: float, *, step: int = 7, **more: float) -> Sign:
    limit = more.pop("limit", 60.0)
    return Sign(rank=rank, host="a", pid=1, phase=phase, step=step, age=age, limit=limit,
                waiting=phase.startswith("waiting"), **more)  # fmt: skip


def ask(*signs: Sign, mine: int = 0) -> tuple[int, str] | None:
    return verdict(signs, mine=mine, grace=6.0)


def test_who_is_at_fault():
    waits = sign(0, "waiting for the other ranks", 61)
    assert ask(waits, sign(1, "saving", 61, limit=600)) is None, "slow, but within its own limit"
    assert ask(waits, sign(1, "computing", 61)) is None, "it has a moment to speak for itself"
    assert ask(waits, sign(1, "computing", 61), mine=1) == (1, "rank 1 has been computing for 61 s (after step 7)")
    late = ask(sign(0, "waiting for the other ranks", 70), sign(1, "computing", 70))
    assert late is not None and late[0] == 1
    ahead = ask(sign(0, "computing", 80, step=9), sign(1, "computing", 70, step=8))
    assert ahead is not None and ahead[0] == 1, "the rank ahead ran into a full queue of the device"
    dead = ask(waits, sign(1, "waiting for the device", 70, silent=65))
    assert dead is not None and dead[0] == 1 and "no sign of life for 65 s" in dead[1]
    assert ask(waits, sign(1, "waiting for the device", 50)) is None
    everyone = ask(waits, sign(1, "waiting for the device", 67))
    assert everyone is not None and "all 2 ranks have been waiting" in everyone[1]
    missing = ask(sign(0, "starting", 700, limit=600), Sign(rank=1, age=700, limit=600, silent=700))
    assert missing is not None and missing[1] == "rank 1 has not started for 700 s"
