"""``python -m tests.executors.parent KIND DIRECTORY NUMBER…``: a process whose end its children must not outlive."""

from __future__ import annotations

import functools
import multiprocessing
import signal
import sys
import threading
from pathlib import Path

from albor.config.schema.run import LocalExecutor, RayExecutor, SlurmExecutor
from albor.errors import AlborError
from albor.executors import open_executor
from albor.executors.child import follow_parent
from tests.executors.work import note


def watched(task: functools.partial[int]) -> None:
    threading.Thread(target=follow_parent, daemon=True).start()
    task(1)


def main(kind: str, directory: str, *numbers: str) -> None:
    # A test run in the background of a shell is started, and starts others, with interrupts ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    task = functools.partial(note, Path(directory))
    tasks = [int(n) for n in numbers]
    if kind == "watcher":
        multiprocessing.get_context("spawn").Process(target=watched, args=(task,)).start()
        return
    kinds = {"local": LocalExecutor(workers=2), "ray": RayExecutor(workers=2), "slurm": SlurmExecutor(memory=2**28)}
    with open_executor(kinds[kind], directory=Path(directory).parent) as executor:
        try:
            executor.map(task, tasks)
        except AlborError as error:
            print(f"failed: {error.cause}", flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
