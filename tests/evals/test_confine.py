"""The inner walls, each by itself: bubblewrap would hide that one of them had come down."""

from __future__ import annotations

import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from albor.evals.sandbox.inside import seccomp

ROOT = Path(__file__).parents[2]
LIMITS = {"seconds": 2.0, "memory": 1 << 30, "disk": 1 << 20, "processes": 16}
PREPARED = f"import os, socket\nfrom albor.evals.sandbox.inside import confine\nLIMITS = {LIMITS}\n"
SPACES = subprocess.run(["unshare", "--user", "--mount", "--pid", "--fork", "true"], capture_output=True).returncode
namespaces = pytest.mark.skipif(SPACES != 0, reason="this machine gives nobody namespaces of their own")


def said(code: str) -> list[str]:
    """The lines that a process of its own prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", PREPARED + code], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


TRIED = """
def tried(what):
    try:
        what()
    except OSError as error:
        return os.strerror(error.errno)
    return "done"
"""


@pytest.mark.skipif(os.getuid() != 0, reason="root becomes another user")
def test_root_is_given_up_for_good() -> None:
    code = "confine.become_nobody()\nprint(os.getresuid(), os.getresgid(), os.getgroups())\n"
    code += "print(tried(lambda: os.setuid(0)), tried(lambda: open('/proc/self/mem').close()))"
    nobody = (65534, 65534, 65534)
    assert said(TRIED + code) == [f"{nobody} {nobody} []", "Operation not permitted done"]


@namespaces
def test_a_program_has_a_small_tmp_of_its_own_and_no_proc(tmp_path: Path) -> None:
    (tmp_path / "outside").touch()
    code = f"""
confine.enter_namespaces(LIMITS['disk'], maps=False)
print(os.getcwd(), os.listdir('/tmp'), os.path.exists({str(tmp_path)!r}), os.listdir('/proc'))
print(tried(lambda: open('/tmp/large', 'wb').write(bytes(4 << 20))))
print(tried(lambda: open('/proc/file', 'wb')))
if (pid := confine.fork()) == 0:
    print(os.getpid(), flush=True)
    os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert said(TRIED + code) == ["/tmp [] False []", "No space left on device", "Read-only file system", "1", "3"]
    assert (tmp_path / "outside").exists()


@namespaces
def test_what_is_loaded_can_be_looked_up_where_libraries_need_it() -> None:
    code = """
before = open('/proc/self/maps').read()
confine.enter_namespaces(LIMITS['disk'], maps=True)
now = open('/proc/self/maps').read()
print(os.listdir('/proc'), os.listdir('/proc/self'), now.count('libc') == before.count('libc') > 0)
print(tried(lambda: open('/proc/self/maps', 'w')))
"""
    assert said(TRIED + code) == ["['self'] ['maps'] True", "Read-only file system"]


def test_what_the_kernel_refuses_is_an_error_that_names_it() -> None:
    code = "confine.check(0, 'fine')\nprint(tried(lambda: confine.check(confine.libc.prctl(-1, 0, 0, 0, 0), 'it')))"
    assert said(TRIED + code) == ["Invalid argument"]


def test_limits_bind_what_is_started_too(tmp_path: Path) -> None:
    code = f"""
import resource, signal, subprocess
confine.limit(LIMITS)
confine.limit({{**LIMITS, 'memory': 1 << 40}})
print(resource.getrlimit(resource.RLIMIT_AS), resource.getrlimit(resource.RLIMIT_CPU))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
print(tried(lambda: open({str(tmp_path / "large")!r}, 'wb', buffering=0).write(bytes(4 << 20))))
print(os.path.getsize({str(tmp_path / "large")!r}))
print(subprocess.run(['sh', '-c', 'ulimit -t; ulimit -n'], capture_output=True, text=True).stdout.split())
"""
    assert said(TRIED + code) == [f"{(1 << 30,) * 2} (3, 3)", "done", f"{1 << 20}", "['3', '128']"]


@pytest.mark.skipif(platform.machine() not in seccomp.ARCHITECTURE, reason="no filter for this machine")
def test_a_program_without_powers_reaches_nothing_that_an_attacker_would() -> None:
    code = """
confine.give_up_powers(contained=True)
print(open('/proc/self/status').read().split('CapEff:')[1].split()[0])
for call in (
    lambda: socket.socket(socket.AF_INET), lambda: socket.socketpair()[0].close(),
    lambda: confine.check(confine.libc.unshare(confine.CLONE_NEWNS), 'unshare'),
    lambda: confine.check(confine.libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None), 'mount'),
    lambda: os.memfd_create('x'),
    lambda: os.setgroups([]),
):
    print(tried(call))
"""
    denied = "Operation not permitted"
    assert said(TRIED + code) == ["0" * 16, "Permission denied", "done", denied, denied, denied, denied]


@pytest.mark.parametrize("machine", seccomp.ARCHITECTURE)
def test_a_filter_kills_what_is_of_another_machine_and_ends_in_a_verdict(machine: str) -> None:
    code = seccomp.program(machine)
    steps = [struct.unpack("<HBBI", code[at : at + 8]) for at in range(0, len(code), 8)]
    assert steps[1:3] == [(seccomp.EQUAL, 1, 0, seccomp.ARCHITECTURE[machine][0]), (seccomp.RETURN, 0, 0, seccomp.KILL)]
    assert steps[-1] == (seccomp.RETURN, 0, 0, seccomp.ALLOW)
    for at, (kind, yes, no, _) in enumerate(steps):
        assert kind == seccomp.RETURN or at + 1 + max(yes, no) < len(steps)


def test_a_machine_whose_calls_are_not_known_gets_no_filter() -> None:
    with pytest.raises(KeyError):
        seccomp.program("m68k")
