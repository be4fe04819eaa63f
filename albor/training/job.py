"""What a training run is, in plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from albor.config.schema.optim import AdamW
from albor.config.schema.trainer import Trainer
from albor.training.batches import Batch, Batches

Metrics = dict[str, float | int]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training run: what every objective needs besides its model."""

    optim: AdamW
    trainer: Trainer
    total_steps: int
    """Optimizer steps of the whole run, resumed parts included; the horizon of the schedule."""
    seq_len: int
    seed: int
    train: Callable[[int, int], Batches]
    """Makes the training data of one rank from (rank, world_size); a batch is one micro-batch."""
    validation: Callable[[], Iterable[Batch]]
    """Makes the validation batches, the same ones each time; ``trainer.val_rows`` rows of them are used."""
    directory: Path
    """Where the checkpoints lie; a run continues from the newest intact one there."""
    log: Callable[[Metrics], None]
    """Receives the metrics of a step, on rank 0. After a resume, the steps since the checkpoint are logged again."""
    val_bytes_per_token: float | None = None
    """UTF-8 bytes per validation token; without it no bits per byte are reported."""
    progress: Callable[[int, int, Metrics], None] | None = None
    """Told (step, total_steps, the latest metrics) after every step, on rank 0."""

    @property
    def tokens_per_step(self) -> int:
        return self.trainer.sequences_per_step * self.seq_len
