"""What is asked of a run from outside while it runs: signals, and a sweep that does not want it any more."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

LOOKS = 1.0
"""Seconds between looks for a file that says stop: it may lie on a file system of the network."""
ALL = "all"
"""The file that stops all jobs of a sweep."""


def stop(folder: Path, name: str = ALL) -> None:
    """Has the job of this name save and end, on whatever machine it runs."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).touch()


class Control:
    """Signals are heard by whoever waits for a stage's processes; files of ``folder`` are looked for."""

    def __init__(self, folder: Path | None = None, name: str = ALL) -> None:
        self._files = [folder / name, folder / ALL] if folder is not None else []
        self._heard: set[signal.Signals] = set()
        self._next_look = 0.0
        self._unwanted = False

    def heard(self, number: signal.Signals) -> None:
        """A signal that came to this process."""
        self._heard.add(number)

    @property
    def wanted(self) -> bool:
        """Whether the run is to go on."""
        if not self._unwanted and self._files and time.monotonic() >= self._next_look:
            self._next_look = time.monotonic() + LOOKS
            self._unwanted = any(file.exists() for file in self._files)
        return not (self._unwanted or self._heard)

    @property
    def time_is_up(self) -> bool:
        """Whether it was Slurm's signal before the time limit that came (``sbatch --signal=B:USR1@120``)."""
        return signal.SIGUSR1 in self._heard and "SLURM_JOB_ID" in os.environ

    def requeue(self) -> bool:
        """Has Slurm put this job into its queue again if its time is up; whether it did."""
        job = os.environ.get("SLURM_JOB_ID")
        if not self.time_is_up or job is None or shutil.which("scontrol") is None:
            return False
        done = subprocess.run(["scontrol", "requeue", job], capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"Slurm does not requeue job {job}: {done.stderr.strip()}", file=sys.stderr, flush=True)
            return False
        print(f"Slurm starts job {job} again, and it goes on from here", file=sys.stderr, flush=True)
        return True
