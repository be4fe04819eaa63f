"""Jobs as tasks of a Ray cluster."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albor.config.schema.run import RayExecutor
from albor.config.schema.sweep import RayLauncher
from albor.executors.jobs import Ended, Job, begin, end, finish
from albor.executors.ray_tasks import connect
from albor.executors.tasks import extra


class RayJobs:
    """One task for each job; it starts the job's process on its node. A lost node ends the job: the same command goes
    on from what it saved."""

    slots = None

    def __init__(self, config: RayLauncher) -> None:
        """Connects to the cluster, or starts one. Raises AlborError when that fails."""
        self._ray = extra("ray", "hydra/launcher")
        self._ours = connect(self._ray, RayExecutor(address=config.address), "hydra.launcher.address")
        self._config = config
        self._running: dict[Any, str] = {}

    def start(self, jobs: Sequence[Job]) -> None:
        """See ``Jobs.start``."""
        resources = {"num_cpus": self._config.num_cpus, "num_gpus": self._config.num_gpus}
        remote = self._ray.remote(max_retries=0, **resources)(work)
        home = {name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "WANDB_API_KEY")}
        threads = {"OMP_NUM_THREADS": str(max(1, int(self._config.num_cpus)))}
        for job in jobs:
            self._running[remote.remote(job, str(Path.cwd()), home | threads)] = job.name

    def ended(self, seconds: float) -> list[Ended]:
        """See ``Jobs.ended``."""
        if not self._running:
            return []
        over, _ = self._ray.wait(list(self._running), num_returns=1, timeout=seconds)
        found = []
        for reference in over:
            name = self._running.pop(reference)
            try:
                found.append(end(name, self._ray.get(reference)))
            except self._ray.exceptions.RayError as error:
                why = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
                found.append(Ended(name, None, f"Ray lost it: {why}"))
        return found

    def withdraw(self) -> None:
        """See ``Jobs.withdraw``. A task that begins after a stop ends at once by itself."""

    def close(self) -> None:
        """See ``Jobs.close``."""
        for reference in self._running:
            self._ray.cancel(reference, force=False)
        if self._running:
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=15)
        self._running.clear()
        if self._ours:
            self._ray.shutdown()


def work(job: Job, directory: str, environment: Mapping[str, str]) -> int:
    """A job's exit code; below 0 the signal that killed it. Paths are as they were where the sweep was started."""
    os.chdir(directory)
    process: subprocess.Popen[bytes] = begin(job, os.environ | environment)
    try:
        return process.wait()
    finally:
        finish([process])
