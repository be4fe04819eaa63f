"""Many programs, a few sandboxes: each worker has one, and runs a program at a time in it."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import threading
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, field

from albor.errors import AlborError
from albor.evals.sandbox.bubblewrap import ENVIRONMENT, INSTALL, Python, command, free, this_python
from albor.evals.sandbox.inside.server import PATIENCE
from albor.evals.sandbox.inside.wire import HEAD
from albor.evals.sandbox.program import Functions, Limits, Program, Verdict, job

GRACE = 10.0
"""Seconds after a program's limit in which its sandbox must have answered."""
FIRST = 60.0
"""The same for the first one, until which its modules are imported."""
ATTEMPTS = 2
"""Sandboxes that a program may break before that is its verdict."""
NONE = Functions(program="", test="")


@dataclass(frozen=True)
class Sandbox:
    """How programs are run."""

    python: Python
    limits: Limits = field(default_factory=Limits)
    warm: tuple[str, ...] = ()
    """Modules imported once per worker, before any program."""
    contained: bool = True
    """False runs programs with this user's rights on this machine."""

    @classmethod
    def of_this_python(cls, limits: Limits | None = None) -> Sandbox:
        return cls(this_python(), limits or Limits())


class Worker:
    """One sandbox. Raises AlborError when it cannot be started."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        python, limits, warm = sandbox.python, sandbox.limits, sandbox.warm
        words = (command if sandbox.contained else free)(python, limits, warm)
        self._line, theirs = socket.socketpair()
        with theirs:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(
                words,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env=ENVIRONMENT,
            )
        self._said: str | None = None
        self._answers = self._line.makefile("rb")

    def run(self, program: Program, grace: float = GRACE) -> Verdict | None:
        """The verdict; None when the sandbox did not answer and is gone."""
        data = json.dumps(job(program)).encode()
        self._line.settimeout(PATIENCE * self._sandbox.limits.seconds + grace)
        try:
            self._line.sendall(HEAD.pack(len(data)) + data)
            text = self._answers.readline()
        except OSError:
            text = b""
        if not text:
            self.close()
            return None
        verdict = json.loads(text)
        if verdict["status"] == "broken":
            self.close()
            raise refused(verdict["detail"])
        return Verdict(**verdict)

    def close(self) -> str:
        """Ends the sandbox with all that is in it; what it last said."""
        if self._said is None:
            self._line.close()
            self._process.kill()
            self._said = self._process.communicate()[1].decode(errors="replace").strip()
        return self._said


def refused(reason: str) -> AlborError:
    return AlborError(
        f"bubblewrap cannot make a sandbox here: {reason}",
        "allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone=1, "
        "kernel.apparmor_restrict_unprivileged_userns=0; in Docker --security-opt seccomp=unconfined), or run this "
        "part elsewhere; eval.sandbox=none trusts the programs with this machine",
        code="E-SANDBOX",
    )


def started(sandbox: Sandbox) -> Worker:
    """A worker that has run an empty program. Raises AlborError with what it said when it could not."""
    worker = Worker(sandbox)
    if worker.run(NONE, FIRST) is None:
        said = worker.close().splitlines()
        raise refused(said[-1] if said else f"it does not answer; {INSTALL}")
    return worker


def execute(
    programs: Iterable[Program], sandbox: Sandbox, *, workers: int | None = None
) -> Generator[tuple[int, Verdict]]:
    """(index, verdict) of each program as it ends, on ``workers`` sandboxes (one per core).

    Raises AlborError when no sandbox can be made.
    """
    count = workers or len(os.sched_getaffinity(0))
    todo, lock = enumerate(programs), threading.Lock()
    done: queue.Queue[tuple[int, Verdict] | BaseException | None] = queue.Queue()
    stop = threading.Event()

    def work() -> None:
        try:
            _work(todo, lock, sandbox, done, stop)
        except BaseException as error:
            done.put(error)
        done.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield from _collect(done, count)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _collect(
    done: queue.Queue[tuple[int, Verdict] | BaseException | None], count: int
) -> Iterator[tuple[int, Verdict]]:
    while count:
        got = done.get()
        if got is None:
            count -= 1
        elif isinstance(got, BaseException):
            raise got
        else:
            yield got


def _work(
    todo: Iterator[tuple[int, Program]],
    lock: threading.Lock,
    sandbox: Sandbox,
    done: queue.Queue[tuple[int, Verdict] | BaseException | None],
    stop: threading.Event,
) -> None:
    # A sandbox dies with the thread that started it, so each thread starts its own.
    worker = started(sandbox)
    try:
        while not stop.is_set():
            with lock:
                index, program = next(todo, (-1, NONE))
            if index < 0:
                return
            for _ in range(ATTEMPTS):
                verdict = worker.run(program)
                if verdict is not None:
                    break
                worker = started(sandbox)
            done.put((index, verdict or Verdict("crashed", "its sandbox stopped answering", sandbox.limits.seconds)))
    finally:
        worker.close()
