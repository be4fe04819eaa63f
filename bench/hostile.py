"""Programs that attack the harness that runs them, and what shows whether they got through.

Each defines ``f``; the test wants ``f(1) == 2``, which none of them computes. Where it says so, the program gives the
right answer if its attack succeeded, so that passing is the proof.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TEST = "def check(candidate):\n    assert candidate(1) == 2\n"
SECRET = "ALBOR_HOSTILE_SECRET"
MARK = "hostile"
"""Name that a process gives itself, so that it is found when it outlives its program."""
LIMIT = 1 << 20
"""Bytes of output that are nothing to worry about."""
MAY_PASS = ("live thread at exit",)
"""Right answers: what matters is that the verdict is clean and soon."""

_FORK = f"""
import posix, time
def child():
    if posix.fork() == 0:
        posix.setsid()
        try:
            open("/proc/self/comm", "w").write("{MARK}")
        except OSError:
            pass
        time.sleep(30)
        posix._exit(0)
"""

PROGRAMS: dict[str, str] = {
    "infinite loop": "def f(x):\n    while True: pass\n",
    "swallowed timeout": """
def f(x):
    while True:
        try:
            while True: pass
        except BaseException: pass
""",
    "disarmed alarm": """
import signal
signal.setitimer(signal.ITIMER_REAL, 0)
signal.signal(signal.SIGALRM, signal.SIG_IGN)
def f(x):
    while True: pass
""",
    "huge int": "def f(x):\n    return 9 ** 9 ** 9\n",
    "sys.exit(0)": "import sys\ndef f(x):\n    sys.exit(0)\n",
    "os._exit(0)": "import os\ndef f(x):\n    os._exit(0)\n",
    "object always ==": """
class Same:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
def f(x): return Same()
""",
    "number always ==": """
class Same(int):
    def __eq__(self, other): return True
    def __sub__(self, other): return 0
    def __hash__(self): return 0
def f(x): return Same()
""",
    "patches what tests use": """
import builtins, math
class Sly(int):
    pass
builtins.abs = lambda x: 0
builtins.len = lambda x: 2
math.fabs = lambda x: 0
builtins.AssertionError = ValueError
def f(x): return Sly(7)
""",
    "forges the verdict through frames": """
import gc, os, sys
def f(x):
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "append"):
                try: value.append("passed")
                except BaseException: pass
            if isinstance(value, dict):
                for key in ("status", "result", "verdict", "passed"): value[key] = "passed"
        frame = frame.f_back
    for value in gc.get_objects():
        if type(value) is dict and "status" in value: value["status"] = "passed"
    os._exit(0)
""",
    "jumps over the assertion": """
import sys
def trace(frame, event, argument):
    if frame.f_code.co_name == "check" and event == "line":
        try: frame.f_lineno = frame.f_lineno + 1
        except ValueError: pass
    return trace
def f(x):
    sys.settrace(trace)
    frame = sys._getframe().f_back
    while frame:
        frame.f_trace = trace
        frame = frame.f_back
    return 7
""",
    "pickle through the result": """
import os, pickle, struct, sys
class Payload:
    def __reduce__(self):
        return (exec, ("open('{dir}/pickled', 'w').write('x')",))
def f(x):
    data = pickle.dumps(("value", (Payload(), None)))
    for descriptor in range(3, 64):
        try: os.write(descriptor, struct.pack("<Q", len(data)) + data)
        except OSError: pass
    frame = sys._getframe()
    while frame:
        for value in list(frame.f_locals.values()):
            if hasattr(value, "append"):
                try: value.append(Payload())
                except BaseException: pass
        frame = frame.f_back
    return Payload()
""",
    "kills its parent": """
import posix
def f(x):
    if posix.getppid() > 1: posix.kill(posix.getppid(), 9)
""",
    "kills its group": """
import posix
def f(x):
    posix.killpg(0, 9)
""",
    "fork + setsid": _FORK + "def f(x):\n    child()\n",
    "20 forks": _FORK + "def f(x):\n    for _ in range(20): child()\n",
    "fork bomb": """
import posix
def f(x):
    n = 0
    while n < 2000:
        if posix.fork() == 0:
            import time; time.sleep(2); posix._exit(0)
        n += 1
    return 2
""",
    "_posixsubprocess shell": """
import subprocess, importlib, posix
def f(x):
    pid = posix.fork()
    if pid == 0:
        posix.execv("/bin/sh", ["sh", "-c", "echo x > {dir}/shell"])
    posix.waitpid(pid, 0)
""",
    "deletes a host file": "import posix\ndef f(x):\n    posix.unlink('{dir}/precious')\n",
    "overwrites a host file": "def f(x):\n    open('{dir}/precious', 'w').write('gone')\n",
    "writes 200 MB": """
def f(x):
    with open("big", "wb") as file:
        for _ in range(200): file.write(bytes(1 << 20))
    return 2
""",
    "writes 10 files of 20 MB": """
def f(x):
    for i in range(10):
        with open(f"part{{i}}", "wb") as file: file.write(bytes(20 << 20))
    return 2
""",
    "makes 100,000 files": """
def f(x):
    for i in range(100_000): open(f"file{{i}}", "w").close()
    return 2
""",
    "allocates 6 GiB": """
def f(x):
    held = bytearray(6 << 30)
    held[::4096] = bytes(len(held[::4096]))
    return 2
""",
    "6 GiB in 12 processes": """
import posix, time
def f(x):
    ready, tell = posix.pipe()
    for _ in range(12):
        if posix.fork() == 0:
            held = bytearray(512 << 20)
            posix.write(tell, b"x")
            time.sleep(30)
    done = 0
    while done < 12: done += len(posix.read(ready, 12))
    return 2
""",
    "memory in no address space": """
import os
def f(x):
    held = []
    for _ in range(40):
        fd = os.memfd_create("x")
        for _ in range(30): os.write(fd, bytes(1 << 20))
        held.append(fd)
    return 2
""",
    "50 MB to fd 1": "import os\ndef f(x):\n    for _ in range(50): os.write(1, b'x' * (1 << 20))\n",
    "segfault": "import ctypes\ndef f(x):\n    ctypes.string_at(0)\n",
    "live thread at exit": """
import threading, time
def f(x):
    threading.Thread(target=time.sleep, args=(30,)).start()
    return 2
""",
    "reads a secret env var": f"""
import os
def f(x):
    seen = str(dict(os.environ))
    for pid in ("self", "1", "2", str(os.getppid())):
        try: seen += open(f"/proc/{{{{pid}}}}/environ").read()
        except OSError: pass
    return 2 if "{SECRET}" in seen else 0
""",
    "opens a socket": """
import socket
def f(x):
    socket.create_connection(("127.0.0.1", {port}), timeout=1)
    return 2
""",
    "new user namespace": """
import ctypes
def f(x):
    return 2 if ctypes.CDLL(None).unshare(0x10000000) == 0 else 0
""",
    "looks into other processes": """
import ctypes, os
def f(x):
    libc = ctypes.CDLL(None, use_errno=True)
    return 2 if libc.ptrace(16, os.getppid(), 0, 0) == 0 else 0
""",
}


@dataclass
class Target:
    """A host that can be harmed, and what shows that it was."""

    directory: Path
    reached: threading.Event = field(default_factory=threading.Event)
    port: int = 0

    def program(self, name: str) -> str:
        text = PROGRAMS[name]
        return (
            text.replace("{dir}", str(self.directory))
            .replace("{port}", str(self.port))
            .replace("{{", "{")
            .replace("}}", "}")
        )

    def harm(self) -> list[str]:
        """What happened to the host; undoes it."""
        seen = [f"{name} was written" for name in ("pickled", "shell") if (self.directory / name).exists()]
        precious = self.directory / "precious"
        if not precious.exists() or precious.read_text() != "kept":
            seen.append("a host file is gone or changed")
        if self.reached.is_set():
            seen.append("a host port was reached")
        if alive := survivors():
            seen.append(f"{len(alive)} orphans")
        return seen


def survivors() -> list[int]:
    """Processes that carry the mark and have not ended."""
    found = []
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            head, _, tail = place.read_text().rpartition(")")
        except OSError:
            continue
        if head.endswith(f"({MARK}") and tail.split()[0] != "Z":
            found.append(int(place.parent.name))
    return found


@contextmanager
def target(directory: Path) -> Iterator[Target]:
    """A directory with a precious file that anybody may write, and a listening port."""
    directory.chmod(0o777)
    precious = directory / "precious"
    precious.write_text("kept")
    precious.chmod(0o666)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = Target(directory, port=listener.getsockname()[1])

        def accept() -> None:
            try:
                listener.accept()
                made.reached.set()
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        os.environ[SECRET] = SECRET
        try:
            yield made
        finally:
            del os.environ[SECRET]
            for pid in survivors():
                os.kill(pid, 9)
