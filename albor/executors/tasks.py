"""What all executors share: how a task's outcome travels, and what a task's process is told of threads."""

from __future__ import annotations

import os
import pickle
import signal
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from albor.errors import AlborError


class Outcome(NamedTuple):
    """How a task ended, pickled once and where it ran, so that every executor fails in the same way."""

    succeeded: bool
    payload: bytes
    """The result; or the exception and the text of its traceback."""


class TaskTraceback(Exception):
    """The text of a traceback from another process: the cause of the exception that is raised here."""


def unwatched(index: int, result: object) -> None:
    """The ``done`` of a map that nobody watches."""


def attempt(function: Callable[[Any], Any], task: Any) -> Outcome:
    """``function(task)``, whatever comes of it."""
    try:
        return Outcome(True, pickle.dumps(function(task)))
    except BaseException as error:
        return Outcome(False, pickle.dumps((_portable(error), traceback.format_exc())))


def settle(outcome: Outcome) -> Any:
    """What the task returned. Raises what it raised."""
    value = pickle.loads(outcome.payload)
    if outcome.succeeded:
        return value
    error, trace = value
    raise error from TaskTraceback(f"\n{trace}")


def _portable(error: BaseException) -> Exception:
    """The error itself where a copy of it is like it; else one that has its words."""
    try:
        copied = isinstance(error, Exception) and type(pickle.loads(pickle.dumps(error))) is type(error)
    except Exception:
        copied = False
    return error if copied and isinstance(error, Exception) else RuntimeError(f"{type(error).__name__}: {error}")


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads(count: int) -> dict[str, str]:
    """Environment in which the libraries of a task use ``count`` threads; they read it when they are loaded.

    The tasks fill the cores already. Arrow takes its computing threads from OMP_NUM_THREADS; of the others, which only
    wait for files, it needs more than one not to wait for itself.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    return {
        **dict.fromkeys(names, str(count)),
        "ARROW_IO_THREADS": "2",
        "TOKENIZERS_PARALLELISM": "true" if count > 1 else "false",
    }


def died(cause: str, fix: str, place: str | None = None) -> AlborError:
    """The error of a task whose process is gone: not the config's fault, so the exit code is 1."""
    error = AlborError(cause, fix, place=place)
    error.exit_code = 1
    return error


def fewer(workers: int) -> str:
    """What helps where tasks share a machine's memory."""
    return f"if memory ran out, fewer tasks at a time leave more for each: executor.workers={max(1, workers // 2)}"


def ending(exit_code: int | None) -> str:
    """An exit code in words."""
    if exit_code is None or exit_code >= 0:
        return f"ended with exit code {exit_code}"
    memory = ", as happens when memory runs out" if exit_code == -signal.SIGKILL else ""
    return f"was killed by {signal.Signals(-exit_code).name}{memory}"


def extra(module: str, group: str = "executor") -> Any:
    """A module of the ``cluster`` extra; ``group`` asks for it. Raises AlborError when it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise AlborError(
            f"{group}={module} needs {module}, which is not here", 'pip install "albor[cluster]"'
        ) from None
