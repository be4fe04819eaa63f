"""``python -m albor.cli.job RUN_DIR [STOP_FOLDER]``: one point of a sweep, on whatever machine, as a process.

Everything is in the manifests of the run's chain. It ends early, and saves first, when it is sent a SIGTERM or SIGUSR1
or a file of the folder says so; a Slurm job that Slurm itself has interrupted puts itself into the queue again.
"""

from __future__ import annotations

import signal
import sys
import time
from pathlib import Path

from albor.cli.render import show_error
from albor.errors import INTERRUPTED, AlborError
from albor.plan.build import build
from albor.plan.control import Control
from albor.runs import manifest
from albor.runs.lineage import chain
from albor.runs.manifest import Manifest
from albor.runs.store import disk_error
from albor.runs.world import die_with_starter
from albor.stages.base import find


def main(arguments: list[str]) -> int:
    """The exit code, as of ``albor`` itself."""
    directory, *folder = map(Path, arguments)
    control = Control(folder[0] if folder else None, directory.name)
    for number in (signal.SIGTERM, signal.SIGUSR1):  # what comes between two stages
        signal.signal(number, lambda number, frame: control.heard(signal.Signals(number)))
    die_with_starter()
    made: list[Path] = []
    try:
        code = build(directory, announce, lambda place, run: made.append(place), control, shared=True)
    except AlborError as error:
        show_error(error)
        return error.exit_code
    except OSError as error:
        wrapped = disk_error(error, directory)
        show_error(wrapped)
        return wrapped.exit_code
    if code == INTERRUPTED and control.time_is_up and not made and (lost := lost_work(directory)):
        show_error(lost)
        return lost.exit_code
    if code == INTERRUPTED:
        control.requeue()
    return code


def lost_work(directory: Path) -> AlborError | None:
    """Why a job whose time is up is not to be started again: its stage would start from nothing each time."""
    place, run = next((p, m) for p, m in chain(directory, unfinished=True) if m.status != "done")
    if find(run.stage).resumable:
        return None
    cause = f"{run.stage} was not done when its job's time was up, and keeps nothing on its way"
    manifest.save(place, run.to("failed", finished=time.time(), error=cause))
    fix = "give the job more time: hydra.launcher.timeout_min of a sweep, executor.stages.time of executor=slurm"
    error = AlborError(cause, fix, place=str(place))
    error.exit_code = 1
    return error


def announce(directory: Path, run: Manifest) -> None:
    print(f"{run.stage}/{directory.name}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
