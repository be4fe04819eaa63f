"""Building what is planned: the runs of a chain one after the other, each in a process, or several, of its own.

The chain is read off the manifests, so a job, on whatever machine, needs nothing but a run directory.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from albor.errors import HELD, INTERRUPTED, AlborError
from albor.plan.control import Control
from albor.plan.processes import FORWARDED, End, Processes
from albor.runs import manifest
from albor.runs.lineage import chain, input_path
from albor.runs.manifest import Manifest
from albor.runs.store import held, held_error
from albor.runs.world import HEARTBEAT, hang, hang_text, start_by_hand
from albor.stages.base import find
from albor.stages.planned import refuse

Announce = Callable[[Path, Manifest], None]
TURN = 0.5
"""Seconds between looks at a run that another process works on."""

SPIN = {"GOMP_SPINCOUNT": "1000"}
"""Turns that a thread of OpenMP waits actively. By default it holds its core so long that another process there
makes a training six times slower (docs/BENCHMARKS.md)."""
WAITS = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}


def quiet(directory: Path, run: Manifest) -> None:
    """The announcement of nothing."""


def build(
    directory: Path, announce: Announce, finished: Announce, control: Control | None = None, *, shared: bool = False
) -> int:
    """Runs what is not done of a run's chain; returns the first exit code that is not 0, else 0.

    Args:
        control: what may be asked of it from outside.
        shared: waits for a run that another process works on, instead of refusing.

    Raises:
        AlborError: what has been made shows that a later run is refused; said before what lies between is made.
        Held: another process works on a run, and it is not waited for.
    """
    control = control or Control()
    todo = [(place, run) for place, run in chain(directory, unfinished=True) if run.status != "done"]
    for number, (place, run) in enumerate(todo, 1):
        code = take_turns(place, run, announce, control) if shared else execute(place, run, announce, control)
        if code == HELD:
            raise held_error(place)
        if code:
            return code
        finished(place, manifest.load(place))
        for later, planned in todo[number:]:
            if any(input_path(later, ref).parent == place for ref in planned.inputs.values()):
                refuse(later, planned)
    return 0


def take_turns(directory: Path, run: Manifest, announce: Announce, control: Control) -> int:
    """``execute``, after who works on the run already; 0 at once when it is done then."""
    said = False
    while control.wanted:
        if held(directory):
            if not said:
                print(f"waiting for {directory}, which another process works on", file=sys.stderr, flush=True)
                said = True
            time.sleep(TURN)
            continue
        if manifest.load(directory).status == "done":
            return 0
        code = execute(directory, run, announce, control)
        if code != HELD:  # another began at the same moment, and was first
            return code
    return INTERRUPTED


def execute(directory: Path, run: Manifest, announce: Announce = quiet, control: Control | None = None) -> int:
    """Runs one stage in processes of its own and waits; interrupts reach them, and they save and end. The code is 73
    when another process has the run.

    Raises AlborError when the stage's processes belong on machines where they cannot be started from here.
    """
    announce(directory, run)
    shutil.rmtree(directory / HEARTBEAT, ignore_errors=True)  # of an earlier attempt
    end = launch(directory, run, control).run(run.stage)
    hung = hang(directory)
    if end.code == 1 and hung is not None:
        end = after_hang(end, run, *hung)
    if end.code == HELD:
        return end.code
    if end.text:
        print(end.text, file=sys.stderr, flush=True)
    now = manifest.load(directory)
    # A run that was killed could not write down why, and rank 0 knows no more than that another is gone. A process that
    # is alone and ended by itself has written down more than is known here.
    unsaid = now.status == "running" or (now.status == "failed" and bool(end.text))
    if end.code in (1, 2) and unsaid and end.cause:
        manifest.save(directory, now.to("failed", finished=now.finished or time.time(), error=end.cause))
    if end.code == INTERRUPTED and now.status == "running":  # by a signal that came before it could be answered
        manifest.save(directory, now.to("interrupted", finished=time.time()))
    return end.code


def after_hang(end: End, run: Manifest, cause: str | None, stack: Path) -> End:
    """The end of processes of which one hung; in the middle of a call it could not say so itself."""
    if cause is not None:
        return replace(end, cause=cause)
    cause = f"{run.stage} made no progress, in a call that kept Python's global lock"
    return End(1, hang_text(cause, stack), cause)


def launch(directory: Path, run: Manifest, control: Control | None = None) -> Processes:
    """A stage's processes: one, one per device of this machine, or Slurm's srun, which starts them on its nodes."""
    trainer = run.config["trainer"]
    nodes, devices = int(trainer["nodes"]), int(trainer["devices"])
    stage, kind = [sys.executable, "-m", "albor.exec", str(directory)], find(run.stage)
    on_cpu = kind.accelerated and trainer.get("accelerator") == "cpu"
    if not kind.distributed:
        return Processes(stage, environment(1, on_cpu=on_cpu), count=1, logs=directory, control=control)
    if nodes == 1 and not (devices > 1 and allocated(1, devices)):
        given = environment(devices, on_cpu=on_cpu)
        return Processes(stage, given, count=devices, logs=directory, control=control)
    if not allocated(nodes, 1):
        cause = f"{run.stage}/{directory.name} runs on {nodes} machines, which cannot be started from here"
        by_hand = f"start this on each of them, HOST being the first: {start_by_hand(directory, nodes, devices)}"
        raise AlborError(cause, f"{by_hand}; or give the command in a Slurm job of {nodes} nodes")
    srun = ["srun", f"--nodes={nodes}", f"--ntasks-per-node={devices}", "--kill-on-bad-exit=1", "--disable-status"]
    srun += ["--overlap"] if "SLURM_STEP_ID" in os.environ else []
    # SIGTERM would have srun kill its tasks; other signals are handed on.
    to_tasks = dict.fromkeys(FORWARDED, signal.SIGUSR1)
    return Processes(
        [*srun, *stage],
        environment(devices, on_cpu=on_cpu),
        count=1,
        logs=directory,
        forwarded=to_tasks,
        lifeline=False,
        control=control,
    )


def allocated(nodes: int, tasks: int) -> bool:
    """Whether this process is in a Slurm job that has so many nodes, for so many tasks on each."""
    has = [int(os.environ.get(name, "0")) for name in ("SLURM_JOB_NUM_NODES", "SLURM_NTASKS_PER_NODE")]
    return has[0] >= nodes and (tasks == 1 or has[1] >= tasks) and shutil.which("srun") is not None


def environment(devices: int, *, on_cpu: bool = False) -> dict[str, str]:
    """A stage's environment: the processors are shared among its ranks, and one that computes on them waits for its
    threads without keeping them from others, unless the user says otherwise."""
    cpus = os.cpu_count() or 1
    threads = {"OMP_NUM_THREADS": str(max(1, cpus // devices))} if devices > 1 else {}
    waits = dict(SPIN) if on_cpu and not os.environ.keys() & WAITS else {}
    return {"PYTHONUNBUFFERED": "1"} | threads | waits | os.environ
