"""Running the points of a sweep, one after the other or side by side; each is shown as it ends."""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from albor.cli.job import announce
from albor.cli.render import paint, show_error
from albor.cli.silence import Silence
from albor.cli.verbs.runs import notable
from albor.errors import INTERRUPTED, AlborError
from albor.plan import control
from albor.plan.build import build
from albor.plan.processes import FORWARDED, nohup
from albor.runs import manifest
from albor.runs.lineage import failure
from albor.runs.store import Run

if TYPE_CHECKING:
    from albor.executors.jobs import Ended, Job, Jobs

LOOK = 1.0
"""Longest wait for a job, in seconds, before the keyboard is listened to again."""


def one_by_one(directories: Sequence[Path], *, fail_fast: bool) -> int:
    heard = control.Control()
    for number, directory in enumerate(directories, 1):
        print(paint(f"[{number}/{len(directories)}]", "dim", stream=sys.stderr), end=" ", file=sys.stderr)
        try:
            code = build(directory, announce, lambda place, run: None, heard, shared=True)
        except AlborError as error:  # the other points go on
            show_error(error)
            code = error.exit_code
        if code == INTERRUPTED:
            heard.requeue()
            return INTERRUPTED
        if code and fail_fast:
            print("--fail-fast: the other points are not started", file=sys.stderr)
            break
    return 0


def side_by_side(
    directories: Sequence[Path], jobs: Jobs, place: Path, begun: Callable[[], None], *, fail_fast: bool
) -> int:
    """Keeps the launcher's slots full; what ends is shown as it ends. ``begun`` is called when the first were taken."""
    waiting = deque(job_of(directory, place) for directory in directories)
    running: dict[str, Job] = {}
    over = 0
    silence = Silence(place)
    with stoppable(place / "stop") as asked:
        withdrawn = False
        while running or (waiting and not asked):
            if asked and not withdrawn:
                jobs.withdraw()
                withdrawn = True
            free = len(waiting) if jobs.slots is None else jobs.slots - len(running)
            new = [waiting.popleft() for _ in range(min(free, len(waiting)))] if not asked else []
            if new:
                jobs.start(new)
                if not running and not over:
                    begun()
            running |= {job.name: job for job in new}
            for ended in jobs.ended(LOOK):
                over += 1
                position = f"[{over}/{len(directories)}]"
                done = show_end(running.pop(ended.name), ended, position, stopping=bool(asked))
                silence.broken()
                if not done and fail_fast and not asked:
                    print("--fail-fast: the other points are stopped, what they have in hand is saved", file=sys.stderr)
                    asked.append("failure")
                    control.stop(place / "stop")
            silence.look(running.values(), len(waiting))
    return INTERRUPTED if "interrupt" in asked else 0


def job_of(directory: Path, place: Path) -> Job:
    from albor.executors.jobs import Job

    command = (sys.executable, "-m", "albor.cli.job", str(directory), str((place / "stop").absolute()))
    return Job(directory.name, command, place / "logs" / f"{directory.name}.log")


@contextmanager
def stoppable(folder: Path) -> Iterator[list[str]]:
    """Ctrl-C, a SIGTERM or a closed terminal stops the jobs, which save first; a second one ends them at once. What is
    given says why they were stopped, and is empty as long as they are not."""
    asked: list[str] = []
    for file in folder.glob("*"):
        file.unlink()

    told = control.Control()

    def answer(number: int, frame: object) -> None:
        if "interrupt" in asked:
            raise KeyboardInterrupt
        asked.append("interrupt")
        told.heard(signal.Signals(number))
        control.stop(folder)
        with suppress(OSError):  # a terminal that was closed
            print("stopping: the jobs save what they have in hand (Ctrl-C again: at once)", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, answer) for number in FORWARDED if not nohup(number)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        told.requeue()


def show_end(job: Job, ended: Ended, position: str, *, stopping: bool = False) -> bool:
    """What a job came to, in a line; why, when it failed. Whether its run is done.

    ``stopping``: the jobs were asked to end, so one that has not begun has not failed.
    """
    directory = Path(job.command[3])
    run = manifest.load(directory)
    line = f"{paint(position, 'dim', stream=sys.stderr)} {run.stage}/{directory.name}"
    if run.status == "done":
        facts = notable(Run(directory, run))
        print(f"{line}  done{f'  {facts}' if facts else ''}", file=sys.stderr, flush=True)
        return True
    if ended.code == INTERRUPTED:
        print(f"{line}  interrupted", file=sys.stderr, flush=True)
        return False
    failed = failure(directory)
    if ended.code is None and run.status == "planned" and (failed or stopping):  # its job never began
        why = f": {failed.manifest.stage}/{failed.directory.name} failed" if failed else ""
        print(f"{line}  not started{why}", file=sys.stderr, flush=True)
        return False
    told = f"{failed.manifest.stage}: {failed.manifest.error}" if failed else ""
    cause = told or ended.cause or f"it ended with exit code {ended.code}"
    log = f"\n  --> {job.log}" if job.log.exists() else ""  # none of a job that never began
    print(f"{line}  failed: {cause}{log}", file=sys.stderr, flush=True)
    return False
