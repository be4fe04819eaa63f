"""Tasks as an array of Slurm jobs, by submitit."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from albor.config.schema.run import SlurmExecutor
from albor.errors import AlborError
from albor.executors.tasks import Outcome, attempt, died, extra, settle, threads, unwatched

T = TypeVar("T")
R = TypeVar("R")

SHARES = 4
"""Jobs per worker: few enough for a cluster's limits, enough that one long job does not keep the others waiting."""
MAX_ARRAY = 1000
"""Jobs of one array that clusters allow by default (MaxArraySize 1001)."""
LOG_LINES = 15
POLL = {"slurm": 5.0, "local": 0.1}
"""Seconds between looks at the jobs."""


def work_through(cpus: int, share: bytes) -> list[Outcome]:
    """One job: a pickled function and tasks, worked through up to the first that fails."""
    # Before the task's modules are imported, which is why they come pickled: their libraries read this only once.
    os.environ.update(threads(cpus))
    function, tasks = pickle.loads(share)
    outcomes: list[Outcome] = []
    for task in tasks:
        outcomes.append(attempt(function, task))
        if not outcomes[-1].succeeded:
            break
    return outcomes


class SlurmJobs:
    """An array of jobs per map; each job works through its share of the tasks."""

    def __init__(self, config: SlurmExecutor, directory: Path, *, cluster: Literal["slurm", "local"] = "slurm") -> None:
        """``cluster`` "local" has submitit run the jobs as processes of this machine: all that is not Slurm's own.

        Raises:
            AlborError: submitit or Slurm is not here.
        """
        self._submitit = extra("submitit")
        if cluster == "slurm" and not (shutil.which("sbatch") and shutil.which("srun")):
            cause = "executor=slurm needs Slurm's sbatch and srun, which are not on the PATH here"
            raise AlborError(cause, "start it on a login node of the cluster, or set executor=local")
        self._config, self._directory, self._cluster = config, directory, cluster
        self.workers = config.workers

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R], None] = unwatched
    ) -> list[R]:
        """See ``Executor.map``. Ends of jobs are seen within seconds, deaths of jobs within minutes."""
        if not tasks:
            return []
        count = min(len(tasks), self.workers * SHARES, MAX_ARRAY)
        # Every count-th task: neighbours are often alike in size.
        shares = [range(first, len(tasks), count) for first in range(count)]
        jobs = self._submit([pickle.dumps((function, [tasks[index] for index in share])) for share in shares])
        running = dict(zip(shares, jobs, strict=True))
        results: dict[int, R] = {}
        try:
            while running:
                for share in [s for s, job in running.items() if job.done()]:
                    outcomes = self._outcomes(running[share])
                    del running[share]
                    for index, outcome in zip(share, outcomes, strict=False):  # it stops at a failure
                        results[index] = settle(outcome)
                        done(index, results[index])
                time.sleep(POLL[self._cluster] if running else 0)
        except BaseException:
            for job in running.values():
                job.cancel(check=False)
            raise
        return [results[index] for index in range(len(tasks))]

    def _submit(self, shares: list[bytes]) -> list[Any]:
        config = self._config
        self._directory.mkdir(parents=True, exist_ok=True)
        # A folder of its own: job numbers come round again.
        folder = tempfile.mkdtemp(prefix="map-", dir=self._directory)
        executor = self._submitit.AutoExecutor(folder, cluster=self._cluster)
        executor.update_parameters(
            name="albor-data",
            timeout_min=math.ceil(config.time / 60),
            mem_gb=config.memory / 2**30,
            cpus_per_task=config.cpus,
            slurm_partition=config.partition,
            slurm_account=config.account,
            slurm_array_parallelism=self.workers,
        )
        try:
            jobs: list[Any] = executor.map_array(work_through, [config.cpus] * len(shares), shares)
        except self._submitit.core.utils.UncompletedJobError as error:
            cause = f"Slurm does not take the jobs: {tail(str(error), 1)}"
            raise AlborError(cause, "correct executor.partition, account, time, memory or cpus") from None
        return jobs

    def _outcomes(self, job: Any) -> list[Outcome]:
        try:
            outcomes: list[Outcome] = job.result()
        except self._submitit.core.utils.UncompletedJobError as error:
            log = job.paths.stderr
            end = tail(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "", LOG_LINES)
            cause = f"Slurm job {job.job_id} ended without a result ({job.state}); "
            cause += f"its log ends:\n{end}" if end else "its log is empty"
            fix = "if memory or time ran out, give each job more: executor.memory=16GB, executor.time=8h"
            raise died(cause, fix, place=str(log)) from error
        job.paths.submitted_pickle.unlink(missing_ok=True)
        job.paths.result_pickle.unlink(missing_ok=True)
        return outcomes

    def close(self) -> None:
        """Nothing outlives a map."""


def tail(text: str, lines: int) -> str:
    """The last lines that say something."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
