"""How long, how large a batch, on what, and how often to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Gt, Le

from albor.config.types import Count, NonNegative, Positive, Recorded

Precision = Literal["float32", "bf16", "fp8"]
BUDGETS = ("max_steps", "tokens", "tokens_per_param")
"""The keys that may say how long training runs; one of them does."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """The training loop. Exactly one of max_steps, tokens and tokens_per_param says how long it runs."""

    max_steps: Count | None = None
    """Optimizer steps."""
    tokens: Count | None = None
    """Training tokens instead of steps ("1B"); rounded down to whole steps."""
    tokens_per_param: Annotated[float, Gt(0), Le(1e6)] | None = None
    """Training tokens per model parameter instead of steps (Chinchilla: 20)."""
    epochs: Positive = 1
    """Passes over the data that are allowed; C-TRAINCFG-001 refuses a run that needs more."""
    warmup_steps: NonNegative
    """Steps over which the learning rate rises linearly to its peak."""
    micro_batch_size: Positive
    """Sequences per device and forward pass."""
    grad_accum: Positive = 1
    """Micro-batches per optimizer step."""
    accelerator: Literal["cpu", "cuda", "mps"]
    """Kind of device to train on."""
    devices: Positive = 1
    """Devices per node; a number, because the plan needs the world size."""
    nodes: Positive = 1
    """Machines."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights and optimizer state are float32 in every case."""
    deterministic: bool = False
    """Bit-exact repetition on the same device, at some cost in speed."""
    compile: bool = False
    """torch.compile the model and its loss."""
    profile: Annotated[bool, Recorded()] = False
    """Write a kernel table of a few steps."""
    log_every: Annotated[int, Gt(0), Recorded()] = 10
    """Steps between lines in metrics.jsonl."""
    val_every: Positive = 100
    """Steps between validations; step 0 and the last step are always validated."""
    val_rows: Count = 256
    """Validation rows used by these validations; the eval stage has its own number, eval.max_rows."""
    save_every: Positive = 200
    """Steps between checkpoints."""

    @property
    def world_size(self) -> int:
        return self.devices * self.nodes

    @property
    def sequences_per_step(self) -> int:
        return self.micro_batch_size * self.grad_accum * self.world_size

    def steps(self, seq_len: int, num_parameters: int) -> int:
        """Optimizer steps asked for, whichever of the three budgets says so; 0 when none does."""
        if self.max_steps is not None:
            return self.max_steps
        tokens = self.tokens
        if tokens is None and self.tokens_per_param is not None:
            tokens = int(self.tokens_per_param * num_parameters)
        return 0 if tokens is None else tokens // (self.sequences_per_step * seq_len)
