"""A process of the local pool: it works through what its parent sends, and is gone when the parent is."""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

from albor.executors.tasks import attempt, threads

PR_SET_PDEATHSIG = 1


def serve(pipe: Connection, parent: int) -> None:
    """Answers each (pickled function, or None for the last one; pickled task) with its outcome, until the pipe ends."""
    die_with(parent)
    # Before the task's modules are imported: its libraries read this only once.
    os.environ.update(threads(1))
    function: Callable[[Any], Any] | None = None

    def work(message: tuple[bytes | None, bytes]) -> Any:
        nonlocal function
        code, task = message
        if code is not None:
            function = pickle.loads(code)
        assert function is not None
        return function(pickle.loads(task))

    while True:
        try:
            message = pipe.recv()
        except (EOFError, OSError):
            return
        pipe.send(attempt(work, message))


def die_with(parent: int) -> None:
    """Has this process killed when its parent ends, however it ends."""
    if sys.platform == "linux":
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL):
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:  # it ended before it was asked
            os._exit(1)
    else:
        threading.Thread(target=follow_parent, daemon=True).start()


def follow_parent() -> None:
    """Waits for the parent's end and follows it."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
