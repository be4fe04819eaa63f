"""One ``map`` over tasks, wherever they run: processes of this machine, Slurm jobs, a Ray cluster.

A task that fails ends the map, and nothing is tried again here: what is finished lies on disk, so the same command
goes on from there once the cause is mended.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import Protocol, TypeVar

from albor.config.schema.run import LocalExecutor, RayExecutor, SlurmExecutor
from albor.executors.tasks import unwatched

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Runs a function over tasks. Belongs to the thread that opened it."""

    @property
    def workers(self) -> int:
        """Tasks at the same time."""

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R], None] = unwatched
    ) -> list[R]:
        """``function`` of each task, in the order of the tasks.

        Args:
            function: picklable: a top-level function, or a ``functools.partial`` of one.
            done: called here with a task's index and result as it ends (on Slurm: as its job ends).

        Raises:
            AlborError: a task raised it, or the process of a task died.
            Exception: whatever else a task raised, its traceback as the cause. The other tasks are stopped first.
        """


class Backend(Executor, Protocol):
    def close(self) -> None:
        """Stops what is running, and whatever was started for it."""


@contextmanager
def open_executor(config: LocalExecutor | SlurmExecutor | RayExecutor, *, directory: Path) -> Iterator[Executor]:
    """The executor of ``config``, for one map or several; leaving the block stops all its processes.

    In the block a SIGTERM is a KeyboardInterrupt, so that either stops the tasks before the process ends.

    Args:
        directory: where Slurm jobs exchange files and write logs, in ``slurm/``; on a shared file system.

    Raises:
        AlborError: the executor cannot be had here.
    """
    before = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()  # Python allows handlers nowhere else
    try:
        with closing(_backend(config, directory)) as executor:
            if main:
                signal.signal(signal.SIGTERM, _interrupt)  # after Ray has set its own
            yield executor
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)


def _backend(config: LocalExecutor | SlurmExecutor | RayExecutor, directory: Path) -> Backend:
    match config:
        case LocalExecutor():
            from albor.executors.local import LocalPool

            return LocalPool(config.workers)
        case RayExecutor():
            from albor.executors.ray_tasks import RayTasks

            return RayTasks(config)
        case SlurmExecutor():
            from albor.executors.slurm import SlurmJobs

            return SlurmJobs(config, directory / "slurm")


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
