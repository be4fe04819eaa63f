"""Tasks in processes of this machine.

A pool of our own and not ``concurrent.futures``: that one cannot stop a task that has begun, and of a process that
died it knows neither the task nor the exit code. Processes are spawned, never forked: Arrow's and the tokenizer's
threads do not survive a fork.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections import deque
from collections.abc import Callable, Sequence
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import wait
from typing import Any, TypeVar

from albor.executors.child import serve
from albor.executors.tasks import Outcome, cores, died, ending, fewer, settle, unwatched

T = TypeVar("T")
R = TypeVar("R")


class LocalPool:
    """Starts its processes when a map first needs them, and keeps them for the next map."""

    def __init__(self, workers: int) -> None:
        """``workers`` 0 takes one per core."""
        self.workers = workers or cores()
        self._members: list[Member] = []

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R], None] = unwatched
    ) -> list[R]:
        """See ``Executor.map``. One worker, or one task, needs no process: it runs in this one."""
        if min(self.workers, len(tasks)) < 2:
            return [_here(function, task, index, done) for index, task in enumerate(tasks)]
        try:
            return self._spread(function, tasks, done)
        except BaseException:
            self.close()
            raise

    def _spread(self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R], None]) -> list[R]:
        while len(self._members) < min(self.workers, len(tasks)):
            self._members.append(Member())
        code = pickle.dumps(function)
        queue = deque(enumerate(tasks))
        busy: dict[Any, tuple[Member, int]] = {}
        results: dict[int, R] = {}

        def hand_out(member: Member, code: bytes | None) -> None:
            if queue:
                index, task = queue.popleft()
                busy[member.pipe] = member, index
                self._sure(member, index, lambda: member.pipe.send((code, pickle.dumps(task))))

        for member in self._members:
            hand_out(member, code)
        while busy:
            for pipe in wait(list(busy)):
                member, index = busy.pop(pipe)
                outcome: Outcome = self._sure(member, index, member.pipe.recv)
                results[index] = settle(outcome)
                hand_out(member, None)
                done(index, results[index])
        return [results[index] for index in range(len(tasks))]

    def _sure(self, member: Member, index: int, exchange: Callable[[], Any]) -> Any:
        """What goes through a member's pipe. Raises AlborError when the member is gone."""
        try:
            return exchange()
        except (EOFError, OSError):
            member.process.join()
            how = ending(member.process.exitcode)
            raise died(f"the process of task {index} {how}", fewer(self.workers)) from None

    def close(self) -> None:
        """Kills every process: an idle one holds nothing, and a busy one's work is no longer wanted."""
        members, self._members = self._members, []
        for member in members:
            member.process.kill()
        for member in members:
            member.process.join()
            member.pipe.close()


class Member:
    """One process of the pool and the pipe to it."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # Daemonic: should this process end without closing the pool, its exit does.
        self.process = context.Process(target=serve, args=(theirs, os.getpid()), daemon=True)
        # A terminal's Ctrl-C comes to the whole group, and this process decides what it means: the other is born with
        # SIGINT blocked. Multiprocessing's tracker would unblock it on its way, so it is started before.
        resource_tracker.ensure_running()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()


def _here(function: Callable[[T], R], task: T, index: int, done: Callable[[int, R], None]) -> R:
    result = function(task)
    done(index, result)
    return result
