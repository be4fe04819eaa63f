"""Ends a process that has stopped moving, and says who held it up.

Every rank beats as it works and has a thread that listens. When the beats stop, the ranks compare what they have
written of themselves (``blame.py``), one of them speaks, all leave their stacks, and the processes end.
"""

from __future__ import annotations

import faulthandler
import os
import socket
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, NoReturn, Self

from albor.runs.world import SPOKEN, World, hang_text
from albor.training import blame
from albor.training.blame import WAITING, Sign

Phase = Literal[
    "starting",
    "reading the next batch",
    "computing",
    "waiting for the other ranks",
    "waiting for the device",
    "validating",
    "saving",
]
TICK = 1.0
"""Seconds between looks, less when the timeout is short."""
WRITE_EVERY = 3
"""Looks between signs of life."""
PATIENT = ("starting", "saving")
"""Phases that may always take as long as the first step: a slow disk is not a hang."""
SLACK = 10
"""A gap this many times the longest one seen is no longer slowness."""
SPEAKING = 5.0
"""Seconds that telling about a hang may take; a disk that hangs must not keep the process alive."""


class Heartbeat:
    """While entered, ends the process with exit code 1 when ``beat`` is not called for too long.

    Too long is ``start_timeout`` seconds until the first step is done, the first time in any phase, which may compile,
    and while it saves. Else it is ``timeout``, or ten times the longest gap seen in that phase where that is more, so
    that what is merely slow lives. A call that keeps Python's global lock for so long stops the listening
    thread too: then a timer in C, which that thread winds up again and again, writes the stack and ends the process.

    In ``directory``, which all ranks share: ``rank-N.json``, signs of life; after a hang ``hang-rank-N.txt``, the
    stacks of rank N's threads, and ``hang.txt``, what the rank that spoke had to say.
    """

    def __init__(
        self,
        directory: Path,
        rank: int,
        world_size: int,
        *,
        timeout: float,
        start_timeout: float,
        on_hang: Callable[[str], None] | None = None,
    ) -> None:
        """``on_hang`` is told the cause before the process ends, on the one rank that speaks and in another thread."""
        self.directory, self.rank, self.world_size = directory, rank, world_size
        self.timeout, self.start_timeout, self.on_hang = timeout, start_timeout, on_hang
        self._tick = min(TICK, timeout / 20)
        self._grace = 2 * WRITE_EVERY * self._tick
        self._last: tuple[Phase, int, float] = ("starting", 0, time.monotonic())
        self._longest: dict[Phase, float] = {}
        self._before: dict[Phase, float] = {}
        self._first_step: int | None = None
        self._started = False
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._listen, name="watchdog", daemon=True)
        self._trainer = 0
        self._stack: IO[str] | None = None

    def beat(self, phase: Phase, step: int) -> None:
        """Says what comes next, ``step`` being the last step done; takes under a microsecond."""
        now = time.monotonic()
        before, _, since = self._last
        self._last = (phase, step, now)
        rare = before in PATIENT or phase in PATIENT or before not in self._longest or phase not in self._longest
        if now - since > self._longest.get(before, 0.0):
            self._longest[before] = now - since
        started = not self._started and self._note_start(phase, step)
        if rare:  # the timer in C was, or is to be, wound up for longer than it otherwise is
            self._wind_up()
        if self.world_size > 1 and (started or (before in PATIENT and phase not in PATIENT)):
            self._write_sign()  # who is silent from here on has left the phase that may take long

    def __enter__(self) -> Self:
        self.directory.mkdir(parents=True, exist_ok=True)
        for name in (f"rank-{self.rank}.json", SPOKEN):  # of an earlier attempt
            (self.directory / name).unlink(missing_ok=True)
        self._stack = self._stack_path(self.rank).open("w", encoding="utf-8")
        self._trainer = threading.get_ident()
        self._last = ("starting", 0, time.monotonic())
        self._wind_up()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None and self.world_size > 1 and self._spoken.exists():
            # The connection to the rank that hung and ended broke: that is no error of its own.
            if self._stack is not None:
                self._stack.writelines(traceback.format_exception(error))
            self._end()
        self._stop.set()
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        if self._stack is not None:
            self._stack.close()
            self._stack = None
        for path in (self._stack_path(self.rank), self.directory / f"rank-{self.rank}.json"):
            path.unlink(missing_ok=True)

    @property
    def _spoken(self) -> Path:
        return self.directory / SPOKEN

    def _stack_path(self, rank: int) -> Path:
        return self.directory / f"hang-rank-{rank}.txt"

    # --- the listening thread ---

    def _listen(self) -> None:
        looks = 0
        while not self._stop.wait(self._tick):
            self._wind_up()
            own = self._sign()
            overdue = own.age > own.limit
            looks += 1
            due = self.world_size > 1 and (overdue or looks % WRITE_EVERY == 0)
            signs = self._exchange() if due else [own]
            found = blame.verdict(signs, mine=self.rank, grace=self._grace) if overdue else None
            if found is not None:
                self._end(*found)

    def _note_start(self, phase: Phase, step: int) -> bool:
        """Whether the first step was just done. The gaps before count only until a phase has come again: they hold the
        compilation."""
        if self._first_step is None and phase != "starting":
            self._first_step = step
        if self._first_step is None or step == self._first_step:
            return False
        self._started, self._before, self._longest = True, self._longest, {}
        return True

    def _limit(self, phase: Phase) -> float:
        longest = self._longest.get(phase, self._before.get(phase))
        if not self._started or longest is None or phase in PATIENT:
            return self.start_timeout
        return max(self.timeout, SLACK * longest)

    def _wind_up(self) -> None:
        """Sets the timer that needs no Python: long enough for every phase that can begin before the next look."""
        if self._stack is not None:
            longest = max(self._limit(phase) for phase in {self._last[0], *self._longest.keys() - PATIENT})
            # After the other ranks have named this one, before they end.
            faulthandler.dump_traceback_later(longest + self._grace + SPEAKING / 2, exit=True, file=self._stack)

    def _sign(self) -> Sign:
        phase, step, since = self._last
        return Sign(
            rank=self.rank,
            host=socket.gethostname(),
            pid=os.getpid(),
            phase=phase,
            step=step,
            age=time.monotonic() - since,
            limit=self._limit(phase),
            waiting=phase in WAITING or (self.world_size > 1 and blame.in_collective(self._trainer)),
        )

    def _write_sign(self) -> None:
        with self._writing, suppress(OSError):
            blame.write(self.directory, self._sign())

    def _exchange(self) -> list[Sign]:
        """Writes this rank's sign and gives everyone's; ends the process when another rank has found a hang."""
        if self._spoken.exists():
            self._end()
        with self._writing:
            own = self._sign()
            try:
                return blame.exchange(self.directory, own, self.world_size, start_timeout=self.start_timeout)
            except OSError:
                return [own]  # a full disk is not for the watchdog to report; it can still judge this rank

    # --- the end ---

    def _end(self, at_fault: int | None = None, cause: str = "another rank hung") -> NoReturn:
        """Writes the stacks; speaks if there is something to say and nobody has; ends the process."""
        try:
            if self._stack is not None:
                self._stack.write(f"rank {self.rank}, {self._last[0]}, after step {self._last[1]}: {cause}\n")
                self._stack.flush()
                faulthandler.dump_traceback(self._stack, all_threads=True)
            if at_fault is not None and self._first_to_speak(cause):
                teller = threading.Thread(target=self._tell, args=(at_fault, cause), daemon=True)
                teller.start()
                teller.join(SPEAKING)
            if self.world_size > 1:
                time.sleep(SPEAKING)  # a launcher ends all ranks when one has ended, and all are to leave their stacks
        finally:
            os._exit(1)

    def _first_to_speak(self, cause: str) -> bool:
        try:
            with self._spoken.open("x", encoding="utf-8") as file:
                file.write(f"{cause}\n")
        except FileExistsError:
            return False
        except OSError:
            pass  # better said twice than not at all
        return True

    def _tell(self, at_fault: int, cause: str) -> None:
        World(self.rank).report(hang_text(cause, self._stack_path(at_fault)), cause)
        if self.on_hang is not None:
            with suppress(Exception):  # the process ends in any case
                self.on_hang(cause)
