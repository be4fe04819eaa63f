"""The judge, its program and their server as processes of this machine: what each does without the outer wall."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from albor.evals.sandbox.inside.wire import HEAD
from albor.evals.sandbox.program import Command, Functions, Limits, Program, Script, job

INSIDE = Path(__file__).with_name("inside.py")
ROOT = INSIDE.parents[2]
LIMITS = json.dumps(asdict(Limits(seconds=2)))


def start(role: str, limits: str = LIMITS) -> tuple[subprocess.Popen[str], socket.socket]:
    ours, theirs = socket.socketpair()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, str(INSIDE), role, limits], stdin=theirs.fileno(), stdout=subprocess.PIPE, text=True,
            env=environment, start_new_session=True,
        )  # fmt: skip
    ours.settimeout(60)
    return process, ours


def send(line: socket.socket, program: Program) -> None:
    data = json.dumps(job(program)).encode()
    line.sendall(HEAD.pack(len(data)) + data)


def judged(program: Program) -> tuple[str, str]:
    process, line = start("judge")
    with line:
        send(line, program)
        found = json.loads(process.communicate(timeout=60)[0])
    return found["status"], found["detail"]


BOTH = "def helper(x): return 10 * x\ndef f(x): return helper(x)"


@pytest.mark.parametrize(
    ("program", "status", "detail"),
    [
        (Functions(program="def f(x): return 2", test="assert f(1) == 2"), "passed", ""),
        (Functions(program=BOTH, reference=BOTH, entry_point="f", test="assert f(1) == helper(1)"), "passed", ""),
        (Functions(program="len = 3\ndef f(x): return x", test="assert len([f(1)]) == 1", entry_point="f"),
         "passed", ""),
        (Functions(program="def f(x): return 3", test="x = 1\nassert f(x) == 2"), "failed", "assert f(x) == 2"),
        (Functions(program="def f(x): assert x, 'own'", test="def t():\n    f(0)\nt()"), "failed", "f(0)"),
        (Functions(program="def f(x): return y", test="f(1)"), "error", "NameError: name 'y' is not defined"),
        (Functions(program="def f(x): raise SystemExit", test="f(1)"), "error", "SystemExit"),
        (Functions(program="class E(Exception): pass\ndef f(x): raise E('a')", test="f(1)"), "error", "program.E: a"),
        (Functions(program="import os\ndef f(x): os._exit(7)", test="f(1)"), "crashed",
         "ended with exit code 7 before its tests were over"),
        (Functions(program="import os\ndef f(x): os.kill(os.getpid(), 9)", test="f(1)"), "crashed",
         "killed by signal 9"),
        (Script(program="assert 1 + 1 == 2"), "passed", ""),
        (Script(program="assert 1 + 1 == 3"), "failed", "AssertionError"),
    ],
)  # fmt: skip
def test_a_judge_says_how_its_program_did(program: Program, status: str, detail: str) -> None:
    assert judged(program) == (status, detail)


def test_a_command_passes_by_the_word_that_its_last_step_prints(tmp_path: Path) -> None:
    file = str(tmp_path / "a.sh")
    says = Command(files={file: "echo made; echo word"}, steps=[["true"], ["sh", file]], word="word")
    stops = Command(files={file: "exit 0; echo word"}, steps=[["sh", file]], word="word")
    breaks = Command(files={}, steps=[["sh", "-c", "echo the word; exit 3"], ["sh", "-c", "echo word"]], word="word")
    fails = Command(files={}, steps=[["sh", "-c", "kill -9 $$"]], word="word")
    keeps = Command(files={}, steps=[["sh", "-c", "sleep 60 & echo word"]], word="word")
    assert [judged(each) for each in (says, stops, breaks, fails, keeps)] == [
        ("passed", ""),
        ("failed", "ended before its tests were over"),
        ("error", "sh: exit code 3: the "),
        ("failed", "sh: signal 9: "),
        ("passed", ""),
    ]


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], socket.socket]]:
    process, line = start("free")
    yield process, line
    line.close()
    process.kill()
    process.communicate()


def answer(line: socket.socket, program: Program) -> dict[str, Any]:
    send(line, program)
    with line.makefile("rb") as answers:
        return dict(json.loads(answers.readline()))


def below(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_server_answers_job_after_job_and_ends_when_its_line_does(server: Any) -> None:
    process, line = server
    right = Functions(program="def f(x): return 2", test="assert f(1) == 2")
    loop = Functions(program="def f(x):\n    while True: pass", test="f(1)")
    leaves = Functions(
        program="import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(300)",
        test="f(1)",
    )
    found = [answer(line, program) for program in (right, loop, leaves, right)]
    assert [each["status"] for each in found] == ["passed", "timeout", "passed", "passed"]
    assert found[1]["seconds"] >= 1.9
    assert below(process.pid) == []
    line.close()
    assert process.wait(60) == 0


def test_a_programs_processes_share_its_memory() -> None:
    forks = (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        kept = b'x' * (150 << 20)\n        time.sleep(300)"
    )
    process, line = start("free", json.dumps(asdict(Limits(seconds=5, memory=300 << 20))))
    with line:
        verdict = answer(line, Functions(program=forks, test="import time\nf(1), f(1), f(1), time.sleep(300)"))
    assert verdict["detail"] == f"its processes hold more than {300 << 20:,} bytes"
    assert process.wait(60) == 0


def test_a_judge_that_is_killed_is_said(server: Any) -> None:
    line = server[1]
    kills = Functions(program="import os, signal\ndef f(x): os.kill(os.getppid(), signal.SIGKILL)", test="f(1)")
    assert answer(line, kills)["status"] == "crashed"


def test_a_program_without_end_does_not_outlive_who_waits_for_it(server: Any, tmp_path: Path) -> None:
    process, line = server
    started = tmp_path / "started"
    send(line, Functions(program=f"def f(x):\n    open({str(started)!r}, 'w')\n    while True: pass", test="f(1)"))
    deadline = time.monotonic() + 60
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    (judge,) = below(process.pid)
    line.close()
    assert process.wait(60) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(judge, signal.SIGTERM)
