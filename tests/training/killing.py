"""Trains a run in peace, then its twin through many signals at random moments, and looks at what each of them left.
Prints its figures as JSON.

python killing.py COUNT SEED SIGNAL[,SIGNAL ...] RANKS toy|worker IN_PEACE DIRECTORY [OPTION ...]

An attempt is one process per rank: the process of a stage (``worker``, of a planned run directory) or ``toy.py``. They
are forked from this one, so that they need not import; all else is a start from nothing. After COUNT signals, or fewer
if the run is done before, the last attempt is let be.
"""

import json
import logging
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import lightning.pytorch  # noqa: F401  (before the forks)
import torch

import albor.training.pretrain  # noqa: F401
from albor import worker
from albor.plan.processes import free_port
from albor.runs.metrics import NAME as METRICS
from albor.training.checkpoint import load, load_latest, steps
from albor.training.errors import TrainingError
from tests.training import toy

PROGRAMS: dict[str, Callable[[list[str]], int]] = {"toy": toy.main, "worker": worker.main}
MOMENTS = ("at any time", "while it trains", "while it saves")
SPAN, WRITE = 0.5, 0.01
"""Seconds: the longest wait for a kill, and the time that a checkpoint of these models takes to write."""


@dataclass
class Ended:
    """What an attempt that was sent a signal left."""

    signal: str
    steps: int
    """That it has logged."""
    codes: list[int]
    """Of its processes."""
    writing: bool
    """Whether a checkpoint was being written."""
    loadable: bool
    """Whether every checkpoint can be loaded."""
    lost: int
    """Steps between the last one logged and the newest checkpoint."""
    gone: bool
    """Whether the newest checkpoint is older than the one of the start."""
    in_order: bool
    """Whether its steps are those that follow the checkpoint of the start."""


class Run:
    def __init__(self, program: str, arguments: Sequence[str]) -> None:
        self.program, self.arguments = PROGRAMS[program], list(arguments)
        self.directory = Path(arguments[0])
        self.checkpoints = self.directory / "checkpoints"
        self.log = self.directory.with_suffix(".log")
        self._read = 0

    def start(self, ranks: int) -> list[int]:
        """Process ids."""
        self._read = len(self._metrics())
        shared = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
        places = [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)] if ranks > 1 else [{}]
        children = []
        for place in places:
            child = os.fork()
            if child == 0:
                self._train(place)
            children.append(child)
        return children

    def _train(self, place: dict[str, str]) -> NoReturn:
        code = 1
        try:
            with self.log.open("ab") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            os.environ.update(place)
            code = self.program(self.arguments)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _metrics(self) -> bytes:
        path = self.directory / METRICS
        return path.read_bytes() if path.exists() else b""

    def logged(self) -> list[int]:
        """The steps that this attempt has logged."""
        whole = self._metrics()[self._read :].split(b"\n")[:-1]
        return [line["step"] for line in map(lines_of, whole) if "loss" in line]

    def is_writing(self) -> bool:
        return any(self.checkpoints.glob(".writing-*"))

    def newest(self) -> int:
        """The step of the newest checkpoint, 0 without any. Raises TrainingError when one cannot be loaded."""
        for path in steps(self.checkpoints):
            load(path)
        found = load_latest(self.checkpoints)
        return found.state["step"] if found else 0


def lines_of(line: bytes) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(line)
    except ValueError:  # torn by a kill
        return {}
    return content


def moment(run: Run, draw: random.Random) -> Iterator[bool]:
    """Gives whether the time has come, each time that it is asked."""
    kind = draw.choice(MOMENTS)
    if kind != "at any time":
        while not run.logged():
            yield False
    if kind == "while it saves":
        while not run.is_writing():
            yield False
    until = time.monotonic() + draw.uniform(0, WRITE if kind == "while it saves" else SPAN)
    while time.monotonic() < until:
        yield False
    yield True


def end(children: Sequence[int], when: Iterator[bool] | None, number: signal.Signals) -> tuple[bool, list[int]]:
    """Waits for the processes, and signals them when it is time; whether that was done, and their exit codes."""
    codes: dict[int, int] = {}
    sent = False
    while len(codes) < len(children):
        for child in children:
            if child not in codes and (found := os.waitpid(child, os.WNOHANG))[0]:
                codes[child] = os.waitstatus_to_exitcode(found[1])
        if when is not None and not codes and not sent and next(when):
            for child in children:
                os.kill(child, number)
            sent = True
        time.sleep(0.0005)
    return sent, [codes[child] for child in children]


def attempt(run: Run, ranks: int, when: Iterator[bool] | None, number: signal.Signals) -> Ended | None:
    """None when it has come to the end of the run."""
    before = run.newest()
    children = run.start(ranks)
    sent, codes = end(children, when, number)
    logged = run.logged()
    in_order = logged == list(range(before + 1, before + 1 + len(logged)))
    if not sent or codes == [0] * ranks:
        if codes != [0] * ranks or not in_order:
            sys.exit(f"exit codes {codes} without a signal, steps {logged}; see {run.log}")
        return None
    writing, loadable, now = run.is_writing(), True, before
    try:
        now = run.newest()
    except TrainingError:
        loadable = False
    lost = max(logged, default=before) - now
    return Ended(number.name, len(logged), codes, writing, loadable, lost, now < before, in_order)


def main() -> None:
    count, seed, names, ranks, program, in_peace, directory, *options = sys.argv[1:]
    logging.disable()
    torch.set_num_threads(1)  # a fork keeps no threads
    draw, numbers = random.Random(int(seed)), [signal.Signals[name] for name in names.split(",")]
    attempt(Run(program, [in_peace, *options]), int(ranks), None, numbers[0])
    run, figures = Run(program, [directory, *options]), list[Ended]()
    while True:
        when = moment(run, draw) if len(figures) < int(count) else None
        ended = attempt(run, int(ranks), when, draw.choice(numbers))
        if ended is None:
            break
        figures.append(ended)
    print(json.dumps([asdict(ended) for ended in figures]))


if __name__ == "__main__":
    main()
