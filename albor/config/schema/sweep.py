"""How a sweep finds its points (``hydra/sweeper``) and where they run (``hydra/launcher``).

The choices and keys are named as those of Hydra's plugins, whose place they take: a point of a sweep is planned here
before it starts, and what is started is a process that needs nothing but a run directory.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Gt

from albor.config.types import NonNegative, NonNegativeFloat, Or, Positive, PositiveFloat, Text


@dataclass(frozen=True, kw_only=True)
class BasicLauncher:
    """One point after the other, in this process."""

    kind: Literal["basic"] = "basic"
    """The launcher's kind."""


@dataclass(frozen=True, kw_only=True)
class JoblibLauncher:
    """Several points at a time, in processes of this machine."""

    kind: Literal["joblib"] = "joblib"
    """The launcher's kind."""
    n_jobs: Annotated[int, Gt(0), Or(-1, "one per core")] = -1
    """Points at a time; -1 takes one per core."""


@dataclass(frozen=True, kw_only=True)
class SlurmLauncher:
    """An array of Slurm jobs. The outputs directory must be on a shared file system."""

    kind: Literal["submitit_slurm"] = "submitit_slurm"
    """The launcher's kind."""
    array_parallelism: Positive = 256
    """Jobs that run at the same time."""
    timeout_min: Positive = 60
    """Time limit of a job, in minutes; a training that is not done saves before it and goes on in the queue."""
    signal_delay_s: Positive = 120
    """Seconds before the time limit at which a job is told to save."""
    gpus_per_node: NonNegative | None = None
    """GPUs of a job on each node; null asks for trainer.devices where the points train on CUDA devices."""
    cpus_per_task: Positive | None = None
    """Cores of a job; null takes the cluster's default."""
    mem_gb: PositiveFloat | None = None
    """Memory of a job on each node, in GB; null takes the cluster's default."""
    partition: Text | None = None
    """Slurm partition; null takes the cluster's default."""
    account: Text | None = None
    """Account to charge; null takes the user's default."""
    qos: Text | None = None
    """Quality of service; null takes the cluster's default."""
    gres: Text | None = None
    """Generic resources, as sbatch has them: gpu:h100:1."""
    constraint: Text | None = None
    """Features that a job's nodes must have."""
    exclude: Text | None = None
    """Nodes that are not taken."""
    setup: tuple[Text, ...] = ()
    """Shell lines before a job's command: module load cuda."""
    additional_parameters: dict[str, Text] = field(default_factory=dict)
    """Further options of sbatch by name: {mail-type: END}."""


@dataclass(frozen=True, kw_only=True)
class RayLauncher:
    """Tasks of a Ray cluster. The outputs directory must be on a shared file system."""

    kind: Literal["ray"] = "ray"
    """The launcher's kind."""
    address: Text | None = None
    """Address of a running cluster, "auto" to find it; null starts one on this machine."""
    num_cpus: PositiveFloat = 1.0
    """Cores that a point asks for."""
    num_gpus: NonNegativeFloat = 0.0
    """GPUs that a point asks for."""


Launcher = BasicLauncher | JoblibLauncher | SlurmLauncher | RayLauncher


@dataclass(frozen=True, kw_only=True)
class BasicSweeper:
    """Every combination of the values given."""

    kind: Literal["basic"] = "basic"
    """The sweeper's kind."""


@dataclass(frozen=True, kw_only=True)
class OptunaSweeper:
    """Trials that Optuna asks for, within the space that the overrides with several values give."""

    kind: Literal["optuna"] = "optuna"
    """The sweeper's kind."""
    n_trials: Positive = 20
    """Trials in all, those of earlier calls included: raise it to go on."""
    n_jobs: Positive = 1
    """Trials at a time; more than one needs another launcher than basic."""
    metric: Text = "val_loss"
    """What is sought: a fact of the run (val_loss, val_bits_per_byte), dots for what lies deeper; or a logged one."""
    direction: Literal["minimize", "maximize"] = "minimize"
    """Whether less of it is better, or more."""
    sampler: Literal["tpe", "random", "gp", "cmaes"] = "tpe"
    """How Optuna chooses: tree-structured Parzen estimators, at random, by Gaussian processes, by CMA-ES."""
    seed: NonNegative = 0
    """The sampler's seed; trials at a time end in another order each time, so only n_jobs=1 repeats a search."""
    n_startup_trials: Positive = 10
    """Trials at random before the sampler learns from them; also before anything is pruned."""
    pruner: Literal["none", "median", "hyperband", "asha"] = "none"
    """Whether a trial that falls behind the others at the same step is ended early, and by what rule."""
    warmup_steps: NonNegative = 0
    """Steps of a trial before it may be pruned."""
    timeout_min: PositiveFloat | None = None
    """No trial is started after so many minutes; null has no limit."""
    storage: Text | None = None
    """Optuna's storage, an URL; null keeps an SQLite file beside the sweep's record."""


Sweeper = BasicSweeper | OptunaSweeper
