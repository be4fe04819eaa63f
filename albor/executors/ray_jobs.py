"""Jobs as tasks of a Ray cluster."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from albor.config.schema.run import RayExecutor
from albor.config.schema.sweep import RayLauncher
from albor.errors import AlborError
from albor.executors.jobs import Ended, Job, begin, end, finish
from albor.executors.ray_tasks import connect
from albor.executors.tasks import cores, extra

CARRIED = ("PYTHONPATH", "WANDB_", "HF_", "ALBOR_")
"""What a job has of the environment that the sweep was started in, the rest being its node's."""


class RayJobs:
    """One task for each job; it starts the job's process on its node. A lost node ends the job: the same command goes
    on from what it saved."""

    slots = None

    def __init__(self, config: RayLauncher) -> None:
        """Connects to the cluster, or starts one. Raises AlborError when that fails."""
        self._ray = extra("ray", "hydra/launcher")
        here = RayExecutor(address=config.address, workers=max(cores(), math.ceil(config.num_cpus)))
        self._ours = connect(self._ray, here, "hydra.launcher.address")
        self._config = config
        self._running: dict[Any, str] = {}
        self._check_nodes()

    def _check_nodes(self) -> None:
        """Raises AlborError when no node has what a point asks for: Ray would wait for one for ever."""
        asked = {"CPU": self._config.num_cpus, "GPU": self._config.num_gpus}
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        if any(all(node.get(name, 0) >= count for name, count in asked.items()) for node in nodes):
            return
        has = "; ".join(f"{node.get('CPU', 0):g} cores and {node.get('GPU', 0):g} GPUs" for node in nodes)
        cause = f"no node of the Ray cluster has {asked['CPU']:g} cores and {asked['GPU']:g} GPUs for a point"
        self.close()
        raise AlborError(
            cause, f"hydra.launcher.num_cpus, hydra.launcher.num_gpus: the nodes have {has}", place="hydra.launcher"
        )

    def start(self, jobs: Sequence[Job]) -> None:
        """See ``Jobs.start``."""
        resources = {"num_cpus": self._config.num_cpus, "num_gpus": self._config.num_gpus}
        remote = self._ray.remote(max_retries=0, **resources)(work)
        home = {name: value for name, value in os.environ.items() if name.startswith(CARRIED)}
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
