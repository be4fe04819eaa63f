"""The whole config of one stage run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Interval

from albor.config.schema.alerts import Alert
from albor.config.schema.data import Benchmarks, Data
from albor.config.schema.distill import AlborTeacher, Distill, Teacher
from albor.config.schema.finetune import (
    CorpusInstructions,
    Finetune,
    Instructions,
    Lora,
    Objective,
    Preferences,
    Sft,
)
from albor.config.schema.ladder import Ladder
from albor.config.schema.merge import Merge, Slerp
from albor.config.schema.model import Model
from albor.config.schema.optim import AdamW, Muon
from albor.config.schema.prune import Prune, Target
from albor.config.schema.quantize import Quantize
from albor.config.schema.run import Eval, Hardware, LocalExecutor, RayExecutor, SlurmExecutor, Tracking
from albor.config.schema.task import Task
from albor.config.schema.tokenizer import BpeTokenizer, HfTokenizer
from albor.config.schema.trainer import Trainer
from albor.config.types import Label, Text


@dataclass(frozen=True, kw_only=True)
class Config:
    """What one stage runs with: a section per group, and a few keys of its own."""

    model: Model
    """The decoder's shape."""
    data: Data
    """The corpus and its rows."""
    tokenizer: BpeTokenizer | HfTokenizer
    """How text becomes tokens."""
    stage: Any
    """What to make, and the keys of that stage alone."""
    optim: AdamW | Muon
    """Optimizer and learning-rate schedule."""
    trainer: Trainer
    """Length, batch, device and intervals of training."""
    teacher: Teacher = field(default_factory=AlborTeacher)
    """Whom a student learns from."""
    distill: Distill = field(default_factory=Distill)
    """How it learns."""
    merge: Merge = field(default_factory=Slerp)
    """How several models become one."""
    instructions: Instructions = field(default_factory=CorpusInstructions)
    """Examples of what is asked and answered."""
    finetune: Finetune = field(default_factory=Lora)
    """Which weights learn from them."""
    objective: Objective = field(default_factory=Sft)
    """What they are to learn."""
    preferences: Preferences = field(default_factory=Preferences)
    """Pairs of answers, of which one passed its tests: what objective=dpo learns from."""
    prune: Prune = field(default_factory=Target)
    """How a model becomes smaller."""
    quantize: Quantize = field(default_factory=Quantize)
    """What its numbers are stored as."""
    ladder: Ladder = field(default_factory=Ladder)
    """The rungs of a ladder."""
    eval: Eval
    """What a model is measured by."""
    task: dict[str, Task | None] = field(default_factory=dict)
    """What a model is measured by: a name to a benchmark; null leaves one out."""
    evals: Benchmarks = field(default_factory=Benchmarks)
    """The benchmark files: what models are measured on, and what training data is kept free of."""
    tracking: Tracking
    """Where metrics are mirrored to."""
    executor: LocalExecutor | SlurmExecutor | RayExecutor
    """Where data tasks run."""
    hardware: Hardware
    """The device that a plan is made for."""
    alerts: dict[str, Alert | None] = field(default_factory=dict)
    """What is watched while a model trains: a name of your own to a metric, a threshold and an action; null switches
    one off. Never part of a run id."""
    seed: Annotated[int, Interval(ge=0, lt=2**63)] = 42
    """Seed of everything random; reaches every stage upstream."""
    name: Label | None = None
    """Label of the run's directory; null takes the model's, corpus's or tokenizer's name."""
    outputs: Text = "outputs"
    """Directory of all runs."""
    init_from: Text | None = None
    """Start from these weights: a run id, a directory, or a Hugging Face Llama checkpoint."""
    inputs: dict[str, Text] = field(default_factory=dict)
    """Artifacts to take instead of building them: input name to a run id or a directory."""
    allow: tuple[Text, ...] = ()
    """Contracts whose errors are let through as warnings; part of the run's manifest."""
    refused_by: tuple[Text, ...] = ()
    """Contracts that this config is known, and kept, to break; the gate checks that exactly these refuse it."""
