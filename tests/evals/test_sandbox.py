"""The sandbox: honest programs pass, hostile ones harm nothing."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from albor.errors import AlborError
from albor.evals.sandbox import bubblewrap, workers
from albor.evals.sandbox.program import Command, Functions, Limits, Program, Script, Verdict
from albor.evals.sandbox.workers import Sandbox, execute
from bench.hostile import MAY_PASS, PROGRAMS, TEST, Target, survivors, target

LIMITS = Limits(seconds=1.0)
pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


def verdicts(*programs: Program, sandbox: Sandbox | None = None, count: int = 1) -> list[Verdict]:
    sandbox = sandbox or Sandbox.of_this_python(LIMITS)
    found = dict(execute(programs, sandbox, workers=count))
    return [found[i] for i in range(len(programs))]


def one(program: str, test: str, **more: str) -> Verdict:
    return verdicts(Functions(program=program, test=test, **more))[0]


def kill_children(pid: int) -> None:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with target(tmp_path_factory.mktemp("host")) as made:
        yield made


@pytest.mark.xdist_group("sandbox")
def test_every_hostile_program_is_contained_and_none_passes(host: Target) -> None:
    tests = [Functions(program=host.program(n), test=f"{TEST}\ncheck(f)", entry_point="f") for n in PROGRAMS]
    found = dict(zip(PROGRAMS, verdicts(*tests, count=2), strict=True))
    assert host.harm() == []
    assert [name for name, verdict in found.items() if verdict.passed] == list(MAY_PASS)
    assert survivors() == []
    loops = ("infinite loop", "swallowed timeout", "disarmed alarm", "huge int")
    assert {found[name].status for name in loops} == {"timeout"}
    assert found["segfault"].detail == "killed by signal 11"
    assert found["os._exit(0)"].status == "crashed"
    assert found["sys.exit(0)"].detail == "SystemExit"
    assert "MemoryError" in found["allocates 6 GiB"].detail
    assert "exec does not cross" in found["pickle through the result"].detail


@pytest.mark.xdist_group("sandbox")
def test_a_program_does_not_see_its_tests() -> None:
    looks = """
import gc, sys
def f(x):
    seen = [o for o in gc.get_objects() if type(o) is dict and "test" in o]
    text = str([type(o) for o in seen if isinstance(o.get("test"), str)])
    frame, source = sys._getframe(), ""
    while frame:
        source += str(frame.f_locals)
        frame = frame.f_back
    return "4711" in text + source
"""
    verdict = one(looks, "assert f(0) is False, 'it saw the number in this test: 4711'", entry_point="f")
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    "take",
    [
        "held = bytearray(100 << 20); held[::4096] = bytes(len(held[::4096]))",
        "held = mmap.mmap(-1, 100 << 20)\n            for n in range(0, 100 << 20, 4096): held[n] = 1",
        "\n            while True: spent[n] = min(255, int(100 * time.process_time()))",
    ],
    ids=["memory", "shared memory", "processor"],
)
@pytest.mark.xdist_group("sandbox")
def test_what_children_of_a_live_thread_take_is_counted(take: str) -> None:
    program = f"""
import mmap, os, threading, time
spent = mmap.mmap(-1, 12)  # hundredths of a second
def children():
    for n in range(12):
        if os.fork() == 0:
            {take}
            time.sleep(60)
    time.sleep(60)
def f(x):
    threading.Thread(target=children).start()
    began = time.monotonic()
    while time.monotonic() < began + 1.8 or sum(spent[:]) in range(1, 150):  # where others work, too, it takes longer
        time.sleep(0.05)
    return 2
"""
    sandbox = Sandbox.of_this_python(Limits(seconds=0.8, memory=256 << 20))
    (verdict,) = verdicts(Functions(program=program, test="assert f(1) == 2"), sandbox=sandbox)
    assert verdict.status in ("crashed", "timeout")


FORGES = """
from albor.evals.sandbox.inside import wire
class Encoder(wire.Encoder):
    def dump(self, message):
        if message[0] == "value" and isinstance(message[1], dict) and "f" in message[1]:
            message[1].update(abs=lambda x: 0, helper=lambda x: 7)
        forged = ANSWER
        if message[0] == "value" and isinstance(message[1], tuple) and message[1][0] == 7 and forged:
            number = self._peer.export(lambda *a: WANTED)
            mine = b"(X\\4\\0\\0\\0mineK" + bytes([number]) + b"tQ"
            self._file.write(b"\\x80\\5X\\5\\0\\0\\0value" + forged.replace(b"MINE", mine) + b"N\\x86\\x86.")
        else:
            super().dump(message)
    def __init__(self, file, peer):
        super().__init__(file, peer)
        self._file = file
wire.Encoder = Encoder
def f(x): return 7
"""


@pytest.mark.parametrize(
    ("answer", "wanted", "test"),
    [
        ('b""', "None", "assert abs(f(1) - 2) < 1e-6"),
        ('b""', "None", "assert f(1) == helper(1)"),
        (r'b"ccollections\nCounter\nN}X\6\0\0\0__eq__MINEs\x86b)R"', "True", "assert f(1) == 2"),
        (r'b"(X\6\0\0\0moduleX\4\0\0\0jsontQN}X\5\0\0\0dumpsMINEs\x86b"',
         """'{"status": "passed", "detail": ""}'""", "assert f(1) == 2"),
    ],
    ids=["built-in function", "reference", "type", "module"],
)  # fmt: skip
@pytest.mark.xdist_group("sandbox")
def test_a_forged_message_changes_nothing_that_the_verdict_depends_on(answer: str, wanted: str, test: str) -> None:
    program = FORGES.replace("ANSWER", answer).replace("WANTED", wanted)
    verdict = one(program, test, reference="def helper(x): return 2\ndef f(x): return 2", entry_point="f")
    assert not verdict.passed


@pytest.mark.xdist_group("sandbox")
def test_programs_do_not_see_each_others_files() -> None:
    writes = Functions(program="def f(x):\n    open('left', 'w').write('x')\n    return 2", test="assert f(1) == 2")
    looks = Functions(program="import os\ndef f(x):\n    return os.listdir('.')", test="assert f(1) == []")
    assert [v.status for v in verdicts(writes, looks, writes, looks)] == ["passed"] * 4


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(x): return [1.5, 'a', b'b', None, True, (1, {2: {3}}), 2j, frozenset({1})]",
         "assert f(0) == [1.5, 'a', b'b', None, True, (1, {2: {3}}), 2j, frozenset({1})]"),
        ("from collections import Counter, OrderedDict, deque, namedtuple\nfrom decimal import Decimal\n"
         "P = namedtuple('P', 'x y')\n"
            "def f(x): return Counter('ab'), OrderedDict(a=1), deque([1]), P(1, 2), Decimal('1.5')",
         "from collections import Counter, deque\nfrom decimal import Decimal\n"
         "assert f(0) == (Counter('ab'), {'a': 1}, deque([1]), (1, 2), Decimal('1.5'))"),
        ("from fractions import Fraction\ndef f(x): return Fraction(x, 3), Fraction",
         "from fractions import Fraction\nassert f(1) == (Fraction(1, 3), Fraction)"),
        ("def f(xs): xs.sort(); xs.append([9])", "xs = [3, 1]\nassert f(xs) is None and xs == [1, 3, [9]]"),
        ("def f(d): d['x'] = 1", "d = {'y': 2}\nf(d)\nassert d == {'y': 2, 'x': 1}"),
        ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2]"),
        ("def f(s): return map(str.upper, s)", "assert ''.join(f('ab')) == 'AB'"),
        ("def f(x):\n    if x < 0: raise ValueError('negative')",
         "try:\n    f(-1)\nexcept ValueError as e:\n    assert str(e) == 'negative'\nelse:\n    assert False"),
        ("class MyError(Exception): pass\ndef f(x): raise MyError('no')",
         "try:\n    f(1)\nexcept Exception as e:\n    assert 'no' in str(e)\nelse:\n    assert False"),
        ("class Node:\n    def __init__(self, v): self.v, self.left = v, None\n"
         "def depth(n): return 0 if n is None else 1 + depth(n.left)",
         "root = Node(1)\nroot.left = Node(2)\nassert depth(root) == 2 and root.left.v == 2"),
        ("def f(g, xs): return [g(x) for x in xs]", "assert f(lambda x: x + 1, [1, 2]) == [2, 3]"),
        ("def f(a, *b, k=0): return a, b, k", "assert f(1, 2, k=3) == (1, (2,), 3)"),
        ("import math\nN = 5\ndef f(x): return x", "assert math.isclose(f(1.0), 1.0) and N == 5"),
        ("from dataclasses import dataclass\n@dataclass\nclass C:\n    x: int = 1\ndef f(): return C().x",
         "assert f() == 1"),
        ("def f(x): return float('nan'), float('inf'), 10**400", "a, b, c = f(0)\nassert a != a and b > c"),
        ("import random\ndef f(): return random.random()", "assert f() != f()"),
        ("def f(x):\n    print('x' * 10_000_000)\n    return x", "assert f(1) == 1"),
        ("import asyncio\nasync def g(): return 3\ndef f(): return asyncio.run(g())", "assert f() == 3"),
        ("import threading\ndef f():\n    out = []\n    t = threading.Thread(target=out.append, args=(1,))\n"
         "    t.start(); t.join()\n    return out", "assert f() == [1]"),
    ],
)  # fmt: skip
@pytest.mark.xdist_group("sandbox")
def test_values_and_calls_cross(program: str, test: str) -> None:
    verdict = one(program, test)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("program", "test", "status", "detail"),
    [
        ("def f(x): return 3", "x = 1\nassert f(x) == 2", "failed", "assert f(x) == 2"),
        ("def f(x): return y", "assert f(1) == 2", "error", "NameError: name 'y' is not defined"),
        ("def f(x) return", "assert f(1)", "error", "SyntaxError: expected ':' (<program>, line 1)"),
        ("def g(x): return 2", "assert f(1) == 2", "error", "NameError: name 'f' is not defined"),
        ("def f(x): return f(x)", "f(1)", "error", "RecursionError: maximum recursion depth exceeded"),
        ("x = input()", "pass", "error", "EOFError: EOF when reading a line"),
        ("def f(x): return object()", "assert f(1) == f(1)", "failed", "assert f(1) == f(1)"),
        ("import time\ndef f(x): time.sleep(60)", "f(1)", "timeout", ""),
        ("def f():\n    while True: yield 1", "list(f())", "timeout", ""),
    ],
)
@pytest.mark.xdist_group("sandbox")
def test_what_went_wrong_is_said(program: str, test: str, status: str, detail: str) -> None:
    verdict = one(program, test)
    assert (verdict.status, verdict.detail[: len(detail)]) == (status, detail)


@pytest.mark.xdist_group("sandbox")
def test_the_reference_keeps_its_helpers_and_the_program_its_entry_point() -> None:
    reference = "def helper(x): return 10 * x\ndef f(x): return helper(x)"
    test = "assert f(1) == helper(1)"
    honest = "def helper(x): return 10 * x\ndef f(x): return 10 * x"
    cheats = "def helper(x): return 0\ndef f(x): return 0"
    assert one(honest, test, reference=reference, entry_point="f").passed
    assert one(cheats, test, reference=reference, entry_point="f").status == "failed"


@pytest.mark.xdist_group("sandbox")
def test_scripts_and_commands() -> None:
    ends = Script(program="assert 1 + 1 == 2")
    fails = Script(program="raise SystemExit(0)")
    shell = Command(files={"a.sh": "echo made > made; cat made; echo $WORD word"}, steps=[["sh", "a.sh"]], word="word")
    early = Command(files={"a.sh": "exit 0; echo word"}, steps=[["sh", "a.sh"]], word="word")
    broken = Command(files={}, steps=[["sh", "-c", "exit 3"], ["sh", "-c", "echo word"]], word="word")
    flood = Command(files={}, steps=[["sh", "-c", "head -c 50000000 /dev/zero; echo word"]], word="word")
    found = verdicts(ends, fails, shell, early, broken, flood)
    assert [v.status for v in found] == ["passed", "error", "passed", "failed", "error", "failed"]
    assert found[4].detail == "sh: exit code 3: "


@pytest.mark.xdist_group("sandbox")
def test_a_sandbox_that_dies_takes_its_programs_along_and_is_replaced() -> None:
    made: list[workers.Worker] = []
    sleeps = Functions(program="import time\ndef f(): time.sleep(1)", test="f()")

    class Watched(workers.Worker):
        def run(self, program: Program, grace: float = 10.0) -> Verdict | None:
            if program is sleeps:
                if not made:
                    threading.Timer(0.5, kill_children, (self._process.pid,)).start()
                made.append(self)
            return super().run(program, grace)

    ordinary, workers.Worker = workers.Worker, Watched  # type: ignore[misc]
    try:
        found = verdicts(sleeps, sleeps, sandbox=Sandbox.of_this_python(Limits(seconds=2)))
    finally:
        workers.Worker = ordinary  # type: ignore[misc]
    assert [v.status for v in found] == ["passed", "passed"]
    assert len(set(made)) == 2


@pytest.mark.xdist_group("sandbox")
def test_a_killed_harness_leaves_no_sandbox() -> None:
    code = (
        "from albor.evals.sandbox.workers import Sandbox, execute\n"
        "from albor.evals.sandbox.program import Functions\n"
        "loop = Functions(program='def f():\\n    while True: pass', test='print()\\nf()')\n"
        "print(list(execute([loop], Sandbox.of_this_python(), workers=1)))"
    )
    process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
    deadline = time.monotonic() + 30
    while not (inside := sandboxes(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    assert inside
    process.kill()
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in inside) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [pid for pid in inside if Path(f"/proc/{pid}").exists()]


def sandboxes(pid: int) -> list[int]:
    """bubblewrap below a process, and what is below that."""
    found = subprocess.run(["ps", "-eo", "pid,ppid,comm"], capture_output=True, text=True).stdout.split("\n")[1:-1]
    parents = {int(line.split()[0]): int(line.split()[1]) for line in found}
    names = {int(line.split()[0]): line.split()[2] for line in found}
    outer = [p for p, parent in parents.items() if parent == pid and names[p] == "bwrap"]
    return outer + [p for p, parent in parents.items() if parent in outer]


@pytest.mark.xdist_group("sandbox")
def test_a_closed_generator_leaves_no_process() -> None:
    sleeps = Functions(program="import time\ndef f(): time.sleep(0.2)", test="f()")
    running = execute([sleeps] * 50, Sandbox.of_this_python(LIMITS), workers=2)
    next(running)
    running.close()
    children = subprocess.run(["ps", "--ppid", str(os.getpid()), "-o", "args="], capture_output=True, text=True).stdout
    assert "bwrap" not in children


@pytest.mark.xdist_group("sandbox")
def test_without_containment_honest_programs_still_run_and_leave_nothing() -> None:
    free = Sandbox(bubblewrap.this_python(), LIMITS, contained=False)
    forks = (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        time.sleep(300)\n    return 2"
    )
    program = Functions(program=forks, test="assert f(1) == 2")
    loop = Functions(program="def f(x):\n    while True: pass", test="f(1)")
    assert [v.status for v in verdicts(program, loop, sandbox=free)] == ["passed", "timeout"]


def test_no_bubblewrap_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name, path=None: None)
    with pytest.raises(AlborError) as refused:
        verdicts(Functions(program="", test=""))
    assert refused.value.code == "E-SANDBOX"
    assert "apt install bubblewrap" in str(refused.value.help) and "eval.sandbox=none" in str(refused.value.help)


@pytest.mark.xdist_group("sandbox")
def test_a_bubblewrap_that_cannot_work_is_refused_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setattr(shutil, "which", lambda name, path=None: str(fake))
    with pytest.raises(AlborError, match="setting up uid map") as refused:
        verdicts(Functions(program="", test=""))
    assert "user namespaces" in str(refused.value.help)


@pytest.mark.skipif(os.getuid() != 0, reason="root becomes another user")
@pytest.mark.xdist_group("sandbox")
def test_a_user_without_rights_has_the_same_sandbox(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    script.write_text(
        "from albor.evals.sandbox.workers import Sandbox, execute\n"
        "from albor.evals.sandbox.bubblewrap import Python\n"
        "from albor.evals.sandbox.program import Functions, Limits\n"
        f"python = Python({sys.executable!r}, {sys.base_prefix!r}, ())\n"
        "bomb = 'import os\\ndef f(x):\\n    for _ in range(100): os.fork()\\n    return 2'\n"
        "for program in ('def f(x): return 2', bomb):\n"
        "    test = Functions(program=program, test='assert f(1) == 2')\n"
        "    print(list(execute([test], Sandbox(python, Limits()), workers=1))[0][1].status)\n"
    )
    readable = shutil.which("python3", path="/usr/bin")
    if readable is None:
        pytest.skip("only root may read this interpreter")
    root = Path(bubblewrap.PACKAGE).parent
    code = script.read_text().replace(sys.executable, readable).replace(sys.base_prefix, "/usr")
    copy = tmp_path / "albor"
    shutil.copytree(root / "albor", copy, ignore=shutil.ignore_patterns("__pycache__"))
    for place in (tmp_path, *tmp_path.parents):
        if place.stat().st_uid == os.getuid() and str(place).startswith("/tmp/"):
            place.chmod(0o755)
    done = subprocess.run(
        [readable, "-c", code], capture_output=True, text=True, cwd=tmp_path, user="nobody", group="nogroup",
        extra_groups=[], env={"PYTHONPATH": str(tmp_path), "PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.stdout.split() == ["passed", "error"], done.stderr


@pytest.mark.xdist_group("sandbox")
def test_programs_find_the_packages_that_albor_finds() -> None:
    verdict = one("import numpy as np\ndef f(x): return np.int64(x) + 1, np.float64(0.5), np.array([x])",
                  "a, b, c = f(1)\nassert a == 2 and b == 0.5 and list(c) == [1] and c.tolist() == [1]")  # fmt: skip
    assert verdict.passed, verdict
