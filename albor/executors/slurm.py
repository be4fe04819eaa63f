"""Data tasks as an array of Slurm jobs."""

from __future__ import annotations

import math
import pickle
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from albor.config.schema.run import SlurmExecutor
from albor.executors import sbatch
from albor.executors.jobs import Ended, Job
from albor.executors.share import OUTCOMES, TASKS
from albor.executors.slurm_jobs import SlurmQueue
from albor.executors.tasks import Outcome, died, settle, unwatched

T = TypeVar("T")
R = TypeVar("R")

SHARES = 4
"""Jobs per worker: few enough for a cluster's limits, enough that one long job does not keep the others waiting."""
LOG_LINES = 15
LOOK = 60.0
"""Longest wait for a job, in seconds, in one call."""


class SlurmJobs:
    """An array of jobs per map; each job works through its share of the tasks."""

    def __init__(self, config: SlurmExecutor, directory: Path) -> None:
        """Raises AlborError when Slurm is not here."""
        sbatch.needed("executor=slurm")
        self._config, self._directory = config, directory
        self.workers = config.workers

    def map(
        self, function: Callable[[T], R], tasks: Sequence[T], done: Callable[[int, R], None] = unwatched
    ) -> list[R]:
        """See ``Executor.map``. Ends of jobs are seen within seconds."""
        if not tasks:
            return []
        self._directory.mkdir(parents=True, exist_ok=True)
        # A folder of its own: what an earlier map left is not this one's.
        folder = Path(tempfile.mkdtemp(prefix="map-", dir=self._directory))
        count = min(len(tasks), self.workers * SHARES, sbatch.MAX_ARRAY)
        # Every count-th task: neighbours are often alike in size.
        shares = {f"share-{first}": range(first, len(tasks), count) for first in range(count)}
        jobs = [self._job(folder / name, function, [tasks[i] for i in share]) for name, share in shares.items()]
        queue = SlurmQueue("executor=slurm", folder, "executor")
        results: dict[int, R] = {}
        try:
            queue.submit("array", jobs, self._options(folder, count), ())
            while len(results) < len(tasks):
                for ended in queue.ended(LOOK):
                    outcomes = self._outcomes(folder / ended.name, ended)
                    for index, outcome in zip(shares[ended.name], outcomes, strict=False):  # it stops at a failure
                        results[index] = settle(outcome)
                        done(index, results[index])
        except BaseException:
            queue.close()
            raise
        return [results[index] for index in range(len(tasks))]

    def _job(self, place: Path, function: Callable[[T], R], tasks: Sequence[T]) -> Job:
        place.mkdir()
        (place / TASKS).write_bytes(pickle.dumps((function, tasks)))
        command = (sys.executable, "-m", "albor.executors.share", str(place.absolute()), str(self._config.cpus))
        return Job(place.name, command, place.with_suffix(".log"))

    def _options(self, folder: Path, count: int) -> sbatch.Options:
        config = self._config
        return {
            "job-name": "albor-data",
            "array": f"0-{count - 1}%{self.workers}",
            "output": str(folder.absolute() / "slurm-%A_%a.out"),
            "time": math.ceil(config.time / 60),
            "mem": f"{math.ceil(config.memory / 2**20)}M",
            "nodes": 1,
            "ntasks": 1,
            "cpus-per-task": config.cpus,
            "partition": config.partition,
            "account": config.account,
        }

    def _outcomes(self, place: Path, ended: Ended) -> list[Outcome]:
        if ended.code != 0:
            log = place.with_suffix(".log")
            end = tail(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "", LOG_LINES)
            cause = f"{ended.cause or f'a Slurm job ended with exit code {ended.code}'}; "
            cause += f"its log ends:\n{end}" if end else "its log is empty"
            fix = "if memory or time ran out, give each job more: executor.memory=16GB, executor.time=8h"
            raise died(cause, fix, place=str(log))
        outcomes: list[Outcome] = pickle.loads((place / OUTCOMES).read_bytes())
        for file in (TASKS, OUTCOMES):
            (place / file).unlink()
        place.rmdir()
        return outcomes

    def close(self) -> None:
        """Nothing outlives a map."""


def tail(text: str, lines: int) -> str:
    """The last lines that say something."""
    return "\n".join([line for line in text.splitlines() if line.strip()][-lines:])
