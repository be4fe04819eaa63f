"""Jobs as Slurm jobs: arrays of them, and single ones that wait for others."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from albor.config.schema.run import SlurmExecutor
from albor.config.schema.sweep import SlurmLauncher
from albor.errors import AlborError
from albor.executors import sbatch
from albor.executors.jobs import Ended, Job, Shape
from albor.runs.files import write_text

POLL = 1.0
"""Seconds between looks at the files that jobs leave."""
ASK = 5.0
"""Seconds between questions to Slurm."""
SILENCE = 900.0
"""Seconds that Slurm may leave questions without an answer."""
PATIENCE = 3
"""Answers in a row that must say that a job has ended before one that has not done its work is given up: file systems
of a network show a file late, and Slurm, that it has put a job back."""


class SlurmQueue:
    """Jobs that Slurm has, by name; remembered in a file, so that those of an earlier process are taken up again."""

    slots = None

    def __init__(self, asker: str, directory: Path, section: str, elsewhere: Mapping[str, str] | None = None) -> None:
        """``asker`` is what of the config needs Slurm; ``section`` and ``elsewhere`` are where it says what jobs ask
        for. Raises AlborError when Slurm is not here or does not answer."""
        sbatch.needed(asker)
        self._section, self._elsewhere = section, elsewhere
        self._directory = directory
        self._memory = directory / "jobs.json"
        states = sbatch.states()
        before = json.loads(self._memory.read_text(encoding="utf-8")) if self._memory.exists() else {}
        self._before = {name: number for name, number in before.items() if lives(states.get(number))}
        self.ids: dict[str, str] = {}
        """The numbers of the jobs that have not ended, by name."""
        self._given_up: dict[str, int] = {}
        self._asked = 0.0
        self._silent: float | None = None

    def take_up(self, job: Job) -> bool:
        """Whether an earlier process has submitted the job, and it has not ended."""
        if job.name in self._before:
            self.ids[job.name] = self._before[job.name]
        return job.name in self._before

    def submit(self, name: str, jobs: Sequence[Job], options: sbatch.Options, setup: Sequence[str]) -> str:
        """Submits one script for jobs; gives its number. Raises AlborError when Slurm does not take it."""
        self._directory.mkdir(parents=True, exist_ok=True)
        for job in jobs:
            job.log.parent.mkdir(parents=True, exist_ok=True)
            self._ended(job.name).unlink(missing_ok=True)
        commands = [(job.command, job.log.absolute(), self._ended(job.name).absolute()) for job in jobs]
        script = sbatch.script(commands, setup)
        number = sbatch.submit(self._directory / f"{name}.sh", script, options, self._section, self._elsewhere)
        single = "array" not in options
        self.ids |= {job.name: number if single else f"{number}_{task}" for task, job in enumerate(jobs)}
        write_text(self._memory, json.dumps(self._before | self.ids, indent=1) + "\n")
        return number

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
                    del self.ids[one.name]
                return found
            time.sleep(min(POLL, max(0.0, until - time.monotonic())))

    def _look(self) -> list[Ended]:
        files = [name for name in self.ids if self._ended(name).exists()]
        if not files and time.monotonic() < self._asked + ASK:
            return []
        self._asked = time.monotonic()
        states = self._states()
        if states is None:
            return []
        found = []
        for name, number in self.ids.items():
            state = states.get(number)
            if lives(state):
                self._given_up.pop(name, None)
                continue
            code = int(self._ended(name).read_text(encoding="utf-8")) if name in files else None
            self._given_up[name] = self._given_up.get(name, 0) + 1
            if code == 0 or self._given_up[name] >= PATIENCE:
                how = "is gone" if state is None else f"ended as {state.lower().replace('_', ' ')}"
                found.append(Ended(name, code, "" if code is not None else f"Slurm job {number} {how}"))
        return found

    def _states(self) -> dict[str, str] | None:
        """None when Slurm does not answer, as a busy controller does not at times. Raises AlborError when it has not
        for long; the jobs are left to it then."""
        try:
            states = sbatch.states()
        except AlborError as error:
            if self._silent is None:
                print(f"{error.cause}; the jobs go on, and it is asked again", file=sys.stderr, flush=True)
            self._silent = self._silent or time.monotonic()
            if time.monotonic() < self._silent + SILENCE:
                return None
            self.ids.clear()
            error.help = "the jobs are left to Slurm; the same command waits for them once it answers"
            raise
        self._silent = None
        return states

    def withdraw(self) -> None:
        """See ``Jobs.withdraw``."""
        sbatch.cancel(list(self.ids.values()), waiting=True)

    def close(self) -> None:
        """See ``Jobs.close``."""
        sbatch.cancel(list(self.ids.values()))
        self.ids.clear()


def check_time(limit: float, signal: float, key: str) -> None:
    """Raises AlborError when a job would be told to save as soon as it has begun. Both in seconds."""
    if limit <= signal:
        cause = f"a job that may take {limit:g} s would be told to save {signal:g} s before that: at once, each time"
        raise AlborError(cause, f"raise {key} above the time that saving is given", place=key)


def lives(state: str | None) -> bool:
    return state is not None and state not in sbatch.FINAL


class SlurmArray(SlurmQueue):
    """One array for all jobs that are started together."""

    def __init__(self, config: SlurmLauncher, directory: Path, shape: Shape) -> None:
        """Raises AlborError when Slurm is not here, or does not answer, or a job has no time to work."""
        check_time(60 * config.timeout_min, config.signal_delay_s, "hydra.launcher.timeout_min")
        further = {name: f"hydra.launcher.additional_parameters.{name}" for name in config.additional_parameters}
        super().__init__("hydra/launcher=submitit_slurm", directory, "hydra.launcher", further)
        self._config, self._shape = config, shape

    def start(self, jobs: Sequence[Job]) -> None:
        """See ``Jobs.start``."""
        new = [job for job in jobs if not self.take_up(job)]
        if len(new) < len(jobs):
            print(f"Slurm still has {len(jobs) - len(new)} of an earlier call", file=sys.stderr, flush=True)
        for first in range(0, len(new), sbatch.MAX_ARRAY):
            some = new[first : first + sbatch.MAX_ARRAY]
            number = self.submit(f"array-{time.time_ns()}", some, self._options(len(some)), self._config.setup)
            limit = self._config.array_parallelism
            slots = f", at most {limit} at a time" if limit < len(some) else ""
            how_many = "1 job" if len(some) == 1 else f"{len(some):,} jobs"
            print(f"Slurm array {number}: {how_many}{slots}", file=sys.stderr, flush=True)

    def _options(self, count: int) -> sbatch.Options:
        config = self._config
        gpus = self._shape.gpus if config.gpus_per_node is None and config.gres is None else config.gpus_per_node
        return {
            **shared_options(self._directory, self._shape, gpus, config.signal_delay_s),
            "job-name": f"albor-{self._directory.parent.name}",
            "array": f"0-{count - 1}%{config.array_parallelism}",
            "output": str(self._directory.absolute() / "slurm-%A_%a.out"),
            "time": config.timeout_min,
            "cpus-per-task": config.cpus_per_task,
            "mem": None if config.mem_gb is None else f"{math.ceil(config.mem_gb * 1024)}M",
            "partition": config.partition,
            "account": config.account,
            "qos": config.qos,
            "gres": config.gres,
            "constraint": config.constraint,
            "exclude": config.exclude,
            **config.additional_parameters,
        }


class SlurmChain(SlurmQueue):
    """A job for each stage, which Slurm starts once those that it is made from are done."""

    def __init__(self, config: SlurmExecutor, directory: Path) -> None:
        """Raises AlborError when Slurm is not here, or does not answer, or a job has no time to work."""
        check_time(config.stages.time, config.stages.signal, "executor.stages.time")
        own = {"partition": "executor.stages.partition"} if config.stages.partition else {}
        further = {name: f"executor.stages.options.{name}" for name in config.stages.options}
        super().__init__("executor=slurm", directory, "executor", own | further)
        self._config = config

    def start(self, job: Job, shape: Shape, after: Sequence[str]) -> str:
        """Submits a job, if an earlier process has not; gives its number.

        Args:
            shape: what it needs.
            after: the names of the jobs that must be done before.

        Raises:
            AlborError: Slurm does not take it.
        """
        if self.take_up(job):
            return self.ids[job.name]
        config, stages = self._config, self._config.stages
        waits = ":".join(self.ids[name] for name in after if name in self.ids)
        options: sbatch.Options = {
            **shared_options(self._directory, shape, shape.gpus, math.ceil(stages.signal)),
            "job-name": f"albor-{job.name}",
            "output": str(self._directory.absolute() / f"{job.name}.slurm.out"),
            "dependency": f"afterok:{waits}" if waits else None,
            "kill-on-invalid-dep": "yes" if waits else None,
            "time": math.ceil(stages.time / 60),
            "cpus-per-task": stages.cpus,
            "mem": None if stages.memory is None else f"{math.ceil(stages.memory / 2**20)}M",
            "partition": stages.partition or config.partition,
            "account": config.account,
            **stages.options,
        }
        return self.submit(job.name, [job], options, stages.setup)


def shared_options(directory: Path, shape: Shape, gpus: int | None, signal: int) -> dict[str, str | int | None]:
    """What every job of ours is asked for with."""
    return {
        "open-mode": "append",
        "requeue": "",
        "signal": f"B:USR1@{signal}",
        "nodes": shape.nodes,
        "ntasks-per-node": shape.processes,
        "gpus-per-node": gpus or None,
    }
