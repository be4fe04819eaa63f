"""The processes of one stage: started together, told of signals, ended together, and the one that failed named.

Ranks that have lost one of them wait for it, for ever or until the network gives up. So they are not left alone.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import IO

from albor.errors import GOES_ON, HELD, INTERRUPTED, SAVED
from albor.plan.control import Control
from albor.runs.world import FAILURES, LIFELINE, Failure, failures, rank_log

GRACE = 5.0
"""Seconds that the others have to end by themselves when a rank failed or rank 0 is done."""
POLL = 0.05
"""Seconds between looks at the processes."""
FORWARDED = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGUSR1,
    signal.SIGHUP: signal.SIGTERM,
}
"""What the processes are sent for what comes to this one. A terminal that is closed ends a run in order."""
LAST_LINES = 20
STOPPED = frozenset(code for number in FORWARDED.values() for code in (-number, 128 + number))
"""Codes of a process that a signal ended before it could be answered; the second kind are srun's."""
TOLD = (2, HELD)
"""Codes of a process that failed by which it says why."""
Process = subprocess.Popen[bytes]


@dataclass(frozen=True)
class End:
    """How the processes ended."""

    code: int
    """0 done, 1 failed, 2 the user must change something, 73 another process has the run, 75 interrupted."""
    text: str = ""
    """What the user is to be told; empty when a process has told it."""
    cause: str = ""
    """The same in one line."""


class Processes:
    """Several processes of one command, each a rank of torch's, or a single one.

    ``forwarded`` says which signal they are sent for which. With ``lifeline`` they run albor themselves, and end when
    this process does, however it does.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        count: int,
        logs: Path,
        forwarded: Mapping[signal.Signals, signal.Signals] = FORWARDED,
        lifeline: bool = True,
        control: Control | None = None,
    ) -> None:
        self._command, self.environment, self._count = command, environment, count
        self._logs, self._forwarded, self._lifeline = logs, forwarded, lifeline
        self._control = control or Control()
        self._asked: deque[signal.Signals] = deque()
        self._told_to_stop = 0
        self._interrupts = 0
        self._killed: set[int] = set()

    def run(self, name: str) -> End:
        """Starts them and waits; ``name`` is what a single one is called. Rank 0 has this process's outputs, the others
        write to ``rank-N.log`` in ``logs``."""
        with TemporaryDirectory(prefix="albor-") as told, self._listening(), ExitStack() as opened:
            for log in self._logs.glob("rank-*.log"):
                log.unlink()
            processes: list[Process] = []
            for rank, environment in enumerate(self._environments(told)):
                output = opened.enter_context(rank_log(self._logs, rank).open("ab")) if rank else None
                processes.append(self._start(environment, output))
                opened.callback(release, processes[-1])
            alive = self._wait(processes)
            end = self._end(name, [process.returncode for process in processes], alive, failures(Path(told)))
        for log in self._logs.glob("rank-*.log"):
            if not log.stat().st_size:
                log.unlink()
        return end

    def _environments(self, told: str) -> list[dict[str, str]]:
        if self._count == 1:
            return [dict(self.environment)]
        size = str(self._count)
        shared = {"WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_ADDR": "127.0.0.1", FAILURES: told}
        shared |= {"MASTER_PORT": str(free_port())}
        ranks = map(str, range(self._count))
        return [{**self.environment, **shared, "RANK": rank, "LOCAL_RANK": rank} for rank in ranks]

    def _start(self, environment: dict[str, str], output: IO[bytes] | None) -> Process:
        # In a group of its own: a terminal's SIGINT comes to this process alone, which hands on each signal once.
        return subprocess.Popen(
            self._command,
            env=environment | ({LIFELINE: "1"} if self._lifeline else {}),
            stdin=subprocess.PIPE if self._lifeline else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            process_group=0,
        )

    @contextmanager
    def _listening(self) -> Iterator[None]:
        def ask(number: int, frame: FrameType | None) -> None:
            self._asked.append(signal.Signals(number))
            self._control.heard(signal.Signals(number))

        heard = [number for number in self._forwarded if not nohup(number)]
        before = {number: signal.signal(number, ask) for number in heard}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _wait(self, processes: Sequence[Process]) -> list[float]:
        """Until all have ended; gives when each was last seen alive (seconds since 1970)."""
        alive = [time.time()] * len(processes)
        patience: float | None = None
        while True:
            now = time.time()
            running = {rank: process for rank, process in enumerate(processes) if process.poll() is None}
            if not running:
                return alive
            for rank in running:
                alive[rank] = now
            self._tell(running.values())
            if patience is None and self._to_be_ended([process.returncode for process in processes]):
                patience = time.monotonic() + GRACE
            if patience is not None and time.monotonic() > patience:
                for rank, process in running.items():
                    self._killed.add(rank)
                    kill(process)
            time.sleep(POLL)

    def _tell(self, running: Iterable[Process]) -> None:
        if not (self._asked or self._told_to_stop or self._control.wanted):
            self._asked.append(signal.SIGTERM)
        while self._asked:
            number = self._asked.popleft()
            self._told_to_stop += 1
            self._interrupts += number == signal.SIGINT
            for process in running:
                process.send_signal(self._forwarded[number])
            if self._lifeline and self._told_to_stop == 1:
                with suppress(OSError):  # a terminal that was closed
                    print(
                        "stopping: what is in hand is saved first (Ctrl-C again: at once)", file=sys.stderr, flush=True
                    )

    def _to_be_ended(self, codes: Sequence[int | None]) -> bool:
        """Rank 0 is the last to have something to do: what the others still wait for does not come."""
        failed = any(code not in (None, 0, INTERRUPTED) for code in codes)
        return failed or codes[0] is not None or self._interrupts > 1

    def _end(self, name: str, codes: Sequence[int], alive: Sequence[float], told: Mapping[int, Failure]) -> End:
        """What they came to together. The first to fail is the cause: the others failed because it was gone."""
        stops = STOPPED if self._told_to_stop or self._count == 1 else frozenset()
        at = {rank: told[rank].at if rank in told else seen for rank, seen in enumerate(alive)}
        stopped = [rank for rank, code in enumerate(codes) if code in stops]
        good = {*self._killed, *stopped, *(rank for rank, code in enumerate(codes) if code in (0, INTERRUPTED))}
        failed = sorted({*range(self._count)} - good, key=at.__getitem__)
        if not failed and codes[0] == 0:
            return End(0)
        if not failed or any(at[rank] < at[failed[0]] for rank in stopped):
            text = "" if codes[0] == INTERRUPTED else GOES_ON  # rank 0, which answered, has said it
            return End(INTERRUPTED, told[0].text if 0 in told else text)
        first, code = failed[0], codes[failed[0]]
        who = name if self._count == 1 else f"rank {first}"
        if first in told:
            shared = first == 0 or (0 in told and told[0].text == told[first].text)
            prefix = "" if shared else f"{who}: "
            return End(code if code in TOLD else 1, prefix + told[first].text, prefix + told[first].cause)
        if code < 0:
            memory = "; the machine may have run out of memory" if code == -signal.SIGKILL else ""
            cause = f"{who} was killed by {signal.Signals(-code).name}{memory}"
            return End(1, f"{cause}; {SAVED}{self._last_lines(first)}", cause)
        cause = f"{who} ended with exit code {code}"
        # A single process has said why.
        return End(code if code in TOLD else 1, cause + self._last_lines(first) if self._count > 1 else "", cause)

    def _last_lines(self, rank: int) -> str:
        if rank == 0:
            return ""
        log = rank_log(self._logs, rank)
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:]
        return "".join(f"\n  {line}" for line in (lines and [f"the end of {log}:", *lines]))


def nohup(number: signal.Signals) -> bool:
    """Whether the signal is that of a closed terminal, and not to be heeded."""
    return number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN


def kill(process: Process) -> None:
    """Ends a process and its own at once, if it has not ended."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def release(process: Process) -> None:
    kill(process)
    if process.stdin is not None:
        process.stdin.close()


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
