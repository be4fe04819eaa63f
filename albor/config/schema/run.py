"""Everything around a run: hardware facts, tracking, executors, evaluation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Interval

from albor.config.types import (
    Bytes,
    Count,
    Fraction,
    Label,
    NonNegative,
    NonNegativeFloat,
    Positive,
    PositiveFloat,
    Recorded,
    Seconds,
    Text,
)


@dataclass(frozen=True, kw_only=True)
class PeakFlops:
    """Dense peak of one device, in FLOP/s, by precision; null where the device cannot."""

    float32: PositiveFloat
    """float32 (with TF32 where the device has it)."""
    bf16: PositiveFloat | None = None
    """Dense bfloat16."""
    fp8: PositiveFloat | None = None
    """Dense 8-bit floating point."""


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """The device a plan is made for; never read from the planning machine."""

    name: Label
    """What it is called."""
    accelerator: Literal["cpu", "cuda", "mps"]
    """Kind of device."""
    memory: Bytes
    """Memory of one device."""
    disk: Bytes
    """Disk a run may fill."""
    peak_flops: PeakFlops
    """Dense peak by precision."""
    mfu: Fraction
    """Share of the peak that training is expected to reach; turns FLOPs into a time."""
    compute_capability: PositiveFloat | None = None
    """CUDA compute capability; fp8 needs 8.9."""
    power: PositiveFloat | None = None
    """Watts that one device draws at work, as its maker states them (board power or TDP), for the estimate of a card;
    null estimates none."""
    pue: Annotated[float, Ge(1)] = 1.56
    """Watts of the whole building per watt of its machines. The default is the average of data centres in 2024 (Uptime
    Institute, Global Data Center Survey 2024); at a desk it is 1."""
    carbon_intensity: NonNegativeFloat = 445.0
    """Grams of CO2 per kilowatt-hour of the grid. The default is the world's in 2024 (IEA, Electricity 2025)."""


@dataclass(frozen=True, kw_only=True)
class Tracking:
    """Mirrors a run's metrics to Weights & Biases; metrics.jsonl is written in any case."""

    mode: Literal["auto", "online", "offline", "disabled"] = "auto"
    """auto is online when a login is found, else offline; it never asks for one."""
    project: Text = "albor"
    """Project that runs are filed under."""
    entity: Text | None = None
    """User or team; null takes the login's own."""
    tags: tuple[Text, ...] = ()
    """Labels on every run."""


@dataclass(frozen=True, kw_only=True)
class LocalExecutor:
    """Data tasks in processes of this machine."""

    kind: Literal["local"] = "local"
    """The executor's kind."""
    workers: NonNegative = 0
    """Processes; 0 takes one per core."""


@dataclass(frozen=True, kw_only=True)
class SlurmStages:
    """What the job of a whole stage asks of Slurm; nodes, processes and GPUs are the trainer's."""

    time: Seconds = 24 * 3600.0
    """Time limit; a training that is not done saves before it and goes on in the queue."""
    signal: Seconds = 120.0
    """Time before the limit at which a job is told to save."""
    cpus: Positive | None = None
    """Cores of each of its processes; null takes the cluster's default."""
    memory: Bytes | None = None
    """Memory on each node; null takes the cluster's default."""
    partition: Text | None = None
    """Slurm partition; null takes executor.partition."""
    setup: tuple[Text, ...] = ()
    """Shell lines before the job's command: module load cuda."""
    options: dict[str, Text] = field(default_factory=dict)
    """Further options of sbatch by name: {constraint: h100}."""


@dataclass(frozen=True, kw_only=True)
class SlurmExecutor:
    """Every stage as a Slurm job that waits for those it is made from, and data tasks as arrays of jobs. The outputs
    directory must be on a shared file system."""

    kind: Literal["slurm"] = "slurm"
    """The executor's kind."""
    workers: Positive = 16
    """Jobs that run at the same time; each works through its share of the tasks."""
    partition: Text | None = None
    """Slurm partition; null takes the cluster's default."""
    account: Text | None = None
    """Account to charge; null takes the user's default."""
    time: Seconds = 4 * 3600.0
    """Time limit of one job of data tasks."""
    memory: Bytes = 8 * 2**30
    """Memory of one job of data tasks."""
    cpus: Positive = 1
    """Cores of one job of data tasks."""
    stages: SlurmStages = field(default_factory=SlurmStages)
    """Jobs of whole stages."""


@dataclass(frozen=True, kw_only=True)
class RayExecutor:
    """Data tasks on a Ray cluster. The outputs directory must be on a shared file system."""

    kind: Literal["ray"] = "ray"
    """The executor's kind."""
    address: Text | None = None
    """Address of a running cluster, "auto" to find it; null starts one on this machine."""
    workers: NonNegative = 0
    """Tasks at the same time; 0 takes every core of the cluster."""


@dataclass(frozen=True, kw_only=True)
class Eval:
    """How a model is measured; what by is in the task section."""

    name: Label
    """What this suite is called."""
    of: Text = "pretrain"
    """The stage whose model is measured."""
    max_rows: Count | None = None
    """Validation rows used for perplexity; null uses all."""
    batch_size: Annotated[Count | None, Recorded()] = None
    """Most rows computed at a time; null chooses by device and memory."""
    prompts: tuple[Text, ...] = ()
    """Beginnings of programs that the model continues, to be read."""
    max_new_tokens: Count = 64
    """Longest of these continuations."""
    temperature: NonNegativeFloat = 0.2
    """Their sampling temperature; 0 takes the likeliest token."""
    top_p: Annotated[float, Interval(gt=0, le=1)] = 0.95
    """Sample them from the smallest set of tokens that holds this share of the probability."""
    samples: Count | None = None
    """Completions per problem of every benchmark; null takes each task's own number."""
    limit: Count | None = None
    """Take only the first problems of each benchmark; null takes all."""
    endpoint: Text | None = None
    """Address of an HTTP completions service (http://HOST/v1) that is the model, in place of one of albor's."""
    endpoint_model: Text = "default"
    """What the service calls the model."""
    endpoint_key_env: Annotated[Text | None, Recorded()] = None
    """Name of the environment variable that holds the service's key."""
    threshold: PositiveFloat | None = None
    """A validation perplexity above this fails the evaluation."""
    sandbox: Annotated[Literal["bubblewrap", "none"], Recorded()] = "bubblewrap"
    """What programs run in; none gives them this user's rights on this machine."""
    workers: Annotated[NonNegative, Recorded()] = 0
    """Programs run at the same time; 0 takes one per core."""
    seconds: Seconds | None = None
    """Processor time that one program may take; null takes each task's own."""
    memory: Bytes | None = None
    """Memory that one program may take; null takes each task's own."""
    python: Text | None = None
    """Interpreter that Python programs run in, for its libraries; null takes albor's own."""
