"""How long, how large a batch, on what, and how often to look."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from albor.config.types import Count, NonNegative, NonNegativeFloat, Positive, Recorded, Unit

Precision = Literal["float32", "bf16", "fp8"]
BUDGETS = ("max_steps", "tokens", "tokens_per_param")
"""The keys that may say how long training runs; one of them does."""


@dataclass(frozen=True, kw_only=True)
class Trainer:
    """The training loop. Exactly one of max_steps, tokens and tokens_per_param says how long it runs; a finetune may
    have none: then it takes all epochs."""

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
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """With several devices: a whole copy of the model on each (ddp), or weights, gradients and optimizer state in
    shares (fsdp) for a model that does not fit otherwise."""
    precision: Precision = "float32"
    """Arithmetic of the matrix products; weights and optimizer state are float32 in every case."""
    deterministic: bool = False
    """Bit-exact repetition on the same device, at some cost in speed."""
    compile: bool = False
    """torch.compile the model and its loss."""
    activation_checkpointing: bool = False
    """Keep only the inputs of the blocks and compute the rest again for the backward pass: a third more arithmetic for
    a fraction of the memory."""
    document_mask: bool = False
    """A token sees only its own document, not the others of its row."""
    z_loss: NonNegativeFloat = 0.0
    """Weight of log²Z in the loss, which keeps the logits from drifting (PaLM takes 1e-4)."""
    profile: Annotated[bool, Recorded()] = False
    """Write a kernel table of a few steps."""
    log_every: Annotated[int, Gt(0), Recorded()] = 1
    """Steps between lines in metrics.jsonl. Values are read a step late, so that logging never waits for the device."""
    val_every: Positive = 100
    """Steps between validations; step 0 and the last step are always validated."""
    val_rows: Count = 256
    """Validation rows used by these validations; the eval stage has its own number, eval.max_rows."""
    save_every: Annotated[int, Gt(0), Recorded()] = 200
    """Steps between checkpoints."""
    keep_last: Annotated[int, Gt(0), Recorded()] = 2
    """Newest checkpoints to keep."""
    keep_best: Annotated[int, Ge(0), Recorded()] = 0
    """Checkpoints of the lowest validation loss to keep besides them."""
    hang_after: Annotated[float, Unit("seconds"), Gt(0), Recorded()] = 50.0
    """A rank or loader that makes no progress for so long is named, its stack written down and the run ended. Until the
    first step is done, which may compile, ten times as long."""

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
