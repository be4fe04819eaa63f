"""Jobs as arrays of Slurm jobs."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

from albor.config.schema.sweep import SlurmLauncher
from albor.executors import sbatch
from albor.executors.jobs import Ended, Job, Shape
from albor.runs.files import write_text

POLL = 1.0
"""Seconds between looks at the files that jobs leave."""
ASK = 5.0
"""Seconds between questions to Slurm."""
PATIENCE = 3
"""Answers in a row that must say that a job has ended before one that has left no file is given up: file systems of a
network show a file late."""


class SlurmArray:
    """One array for all jobs that are started together. Jobs that an earlier process submitted are taken up again."""

    slots = None

    def __init__(self, config: SlurmLauncher, directory: Path, shape: Shape) -> None:
        """Raises AlborError when Slurm is not here, or does not answer."""
        sbatch.needed("hydra/launcher=submitit_slurm")
        sbatch.states()
        self._config, self._directory, self._shape = config, directory, shape
        self._ids: dict[str, str] = {}
        self._given_up: dict[str, int] = {}
        self._asked = 0.0
        self._known = directory / "jobs.json"

    def start(self, jobs: Sequence[Job]) -> None:
        """See ``Jobs.start``."""
        before = json.loads(self._known.read_text(encoding="utf-8")) if self._known.exists() else {}
        states = sbatch.states() if before else {}
        lives = {name: number for name, number in before.items() if states.get(number, "COMPLETED") not in sbatch.FINAL}
        self._ids |= {job.name: lives[job.name] for job in jobs if job.name in lives}
        new = [job for job in jobs if job.name not in lives]
        if new:
            self._ids |= self._submit(new)
        write_text(self._known, json.dumps(before | self._ids, indent=1) + "\n")

    def _submit(self, jobs: Sequence[Job]) -> dict[str, str]:
        for job in jobs:
            self._ended(job.name).unlink(missing_ok=True)
        commands = [(job.command, job.log.absolute(), self._ended(job.name).absolute()) for job in jobs]
        path = self._directory / f"array-{time.time_ns()}.sh"
        text = sbatch.script(commands, self._config.setup)
        number = sbatch.submit(path, text, self._options(len(jobs)))
        return {job.name: f"{number}_{task}" for task, job in enumerate(jobs)}

    def _options(self, count: int) -> sbatch.Options:
        config = self._config
        gpus = self._shape.gpus if config.gpus_per_node is None and config.gres is None else config.gpus_per_node
        return {
            "job-name": f"albor-{self._directory.parent.name}",
            "array": f"0-{count - 1}%{config.array_parallelism}",
            "output": str(self._directory.absolute() / "slurm-%A_%a.out"),
            "open-mode": "append",
            "requeue": "",
            "signal": f"B:USR1@{config.signal_delay_s}",
            "time": config.timeout_min,
            "nodes": self._shape.nodes,
            "ntasks-per-node": self._shape.processes,
            "gpus-per-node": gpus or None,
            "cpus-per-task": config.cpus_per_task,
            "mem": None if config.mem_gb is None else f"{round(config.mem_gb * 1024)}M",
            "partition": config.partition,
            "account": config.account,
            "qos": config.qos,
            "gres": config.gres,
            "constraint": config.constraint,
            "exclude": config.exclude,
            **config.additional_parameters,
        }

    def _ended(self, name: str) -> Path:
        """Says how a job ended, once it has."""
        return self._directory / f"{name}.ended"

    def ended(self, seconds: float) -> list[Ended]:
        """See ``Jobs.ended``."""
        until = time.monotonic() + seconds
        while True:
            found = self._look()
            if found or time.monotonic() >= until:
                for one in found:
                    del self._ids[one.name]
                return found
            time.sleep(min(POLL, max(0.0, until - time.monotonic())))

    def _look(self) -> list[Ended]:
        files = [name for name in self._ids if self._ended(name).exists()]
        if not files and time.monotonic() < self._asked + ASK:
            return []
        self._asked = time.monotonic()
        states = sbatch.states()
        found = []
        for name, number in self._ids.items():
            state = states.get(number, "gone")
            if state != "gone" and state not in sbatch.FINAL:  # what was told to save may have been put back
                self._given_up.pop(name, None)
            elif name in files:
                found.append(Ended(name, int(self._ended(name).read_text(encoding="utf-8"))))
            else:
                self._given_up[name] = self._given_up.get(name, 0) + 1
                if self._given_up[name] >= PATIENCE:
                    found.append(Ended(name, None, f"Slurm job {number}: {state.lower().replace('_', ' ')}"))
        return found

    def close(self) -> None:
        """See ``Jobs.close``."""
        sbatch.cancel(list(self._ids.values()))
        self._ids.clear()
