"""Which of how many processes of a run this is, whoever started them: albor itself, torchrun or Slurm's srun."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path

FAILURES = "ALBOR_FAILURES"
"""Environment variable: directory where ranks leave why they failed, for the process that started them to tell once."""
LIFELINE = "ALBOR_LIFELINE"
"""Environment variable: standard input is a pipe that ends when the process that started this one does."""
HEARTBEAT = "heartbeat"
"""Directory of a run where its processes say that they live, and leave their stacks when they do not."""
SPOKEN = "hang.txt"
"""In it, what the process that found a hang had to say."""
PORTS = range(15_000, 30_000)
"""Below those that systems give to outgoing connections."""


@dataclass(frozen=True)
class World:
    """A process's place among those of its run."""

    rank: int = 0
    local_rank: int = 0
    """Its number on its node, and so its device's."""
    size: int = 1

    def report(self, text: str, cause: str) -> None:
        """Says why this process fails: to the process that started the ranks if it collects that, else here."""
        place = os.environ.get(FAILURES)
        if place is None:
            print(f"rank {self.rank}: {text}" if self.rank else text, file=sys.stderr, flush=True)
            return
        unfinished = Path(place, f".{self.rank}")
        unfinished.write_text(json.dumps(vars(Failure(time.time(), text, cause))), encoding="utf-8")
        unfinished.replace(Path(place, str(self.rank)))


@dataclass(frozen=True)
class Failure:
    """Why a rank failed."""

    at: float
    """Seconds since 1970."""
    text: str
    """What the user is to see."""
    cause: str
    """In one line, for the manifest."""


def failures(place: Path) -> dict[int, Failure]:
    """What the ranks have left in ``place``, by rank."""
    files = [file for file in place.iterdir() if file.name.isdigit()]
    return {int(file.name): Failure(**json.loads(file.read_text(encoding="utf-8"))) for file in files}


def join() -> World:
    """This process's place in the world; for a task of a Slurm step, it is put where torch looks for it.

    torchrun and albor set RANK, LOCAL_RANK and WORLD_SIZE; a process without them is alone.
    """
    if "RANK" not in os.environ and "SLURM_STEP_ID" in os.environ:
        adopt_slurm(os.environ)
    place = [int(os.environ.get(name, default)) for name, default in DEFAULTS.items()]
    return World(*place)


def die_with_starter() -> bool:
    """Has this process and its own killed when the albor that started it ends, however it ends; False where it was
    started otherwise.

    They are a process group of their own, which what kills the starter's does not reach.
    """

    def follow() -> None:
        os.read(0, 1)
        os.killpg(0, signal.SIGKILL)

    started = os.environ.pop(LIFELINE, None) is not None  # what this process starts has another standard input
    if started:
        threading.Thread(target=follow, name="lifeline", daemon=True).start()
    return started


DEFAULTS = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1"}


def adopt_slurm(environment: MutableMapping[str, str]) -> None:
    """Adds torch's variables to those that srun sets for the tasks of a step of several."""
    size = environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1"))
    if size == "1":
        return
    nodes = environment.get("SLURM_STEP_NODELIST") or environment["SLURM_NODELIST"]
    environment.update(
        RANK=environment["SLURM_PROCID"],
        LOCAL_RANK=environment["SLURM_LOCALID"],
        WORLD_SIZE=size,
        GROUP_RANK=environment.get("SLURM_NODEID", "0"),
        # Within one node no name needs to be known to anybody.
        MASTER_ADDR="127.0.0.1" if environment.get("SLURM_STEP_NUM_NODES") == "1" else first_host(nodes),
        MASTER_PORT=str(slurm_port(environment)),
    )


def first_host(nodes: str) -> str:
    """The first of Slurm's list of nodes, where it runs task 0: gpu[03-05,9]-b,login -> gpu03-b."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])+", nodes)
    return re.sub(r"\[([^\],-]+)[^\]]*\]", r"\1", first.group() if first else nodes)


def slurm_port(environment: Mapping[str, str]) -> int:
    """The same port for all tasks of a step, and another one for the next step or job."""
    step = int(environment["SLURM_JOB_ID"]) * 101 + int(environment["SLURM_STEP_ID"])
    return PORTS[step % len(PORTS)]


def rank_log(directory: Path, rank: int) -> Path:
    """Where a rank of several writes what is not for the terminal."""
    return directory / f"rank-{rank}.log"


def hang_text(cause: str, stack: Path) -> str:
    """What is said of a process that stopped moving."""
    return (
        f"error[E-HANG] {cause}\n  --> {stack}\n"
        "  help: the stacks lie there; the same command goes on from the last checkpoint. "
        "If it was slow and did not hang: trainer.hang_after=10min"
    )


def hang(directory: Path) -> tuple[str | None, Path] | None:
    """What a hang left in a run's directory: the cause, None when no process was able to give one, and a stack."""
    spoken = directory / HEARTBEAT / SPOKEN
    stack = next((p for p in sorted(spoken.parent.glob("hang-rank-*.txt")) if p.stat().st_size), None)
    if stack is None:
        return None
    return spoken.read_text(encoding="utf-8").strip() if spoken.exists() else None, stack


def start_by_hand(directory: Path, nodes: int, devices: int) -> str:
    """The command that starts a run's processes without albor; on several nodes, one for each of them."""
    what = f"-m albor.exec {directory.absolute()}"
    if nodes * devices == 1:
        return f"python {what}"
    if nodes == 1:
        return f"torchrun --standalone --nproc-per-node {devices} {what}"
    rendezvous = f"--rdzv-backend c10d --rdzv-endpoint HOST:{PORTS[0]} --rdzv-id {directory.name}"
    return f"torchrun --nnodes {nodes} --nproc-per-node {devices} {rendezvous} {what}"
