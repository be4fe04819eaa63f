"""What a training run is, in plain values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from albor.config.schema.alerts import Alert
from albor.config.schema.optim import AdamW, Muon
from albor.config.schema.trainer import Trainer
from albor.training.batches import Batch, Batches

Metrics = dict[str, float | int]


@dataclass(frozen=True, kw_only=True)
class Job:
    """A training run: what every objective needs besides its model."""

    name: str
    """What the run is called when somebody is told of it."""
    optim: AdamW | Muon
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
    log: Callable[[dict[str, Any]], None]
    """Receives the metrics of a step, on rank 0. After a resume, the steps since the checkpoint are logged again."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Text files that make every checkpoint a model directory: config.json, the tokenizer's, the run's manifest."""
    peak_flops: float | None = None
    """Of all devices together, FLOP/s, in dense bf16 for bf16 and fp8; None leaves MFU out."""
    alerts: Mapping[str, Alert | None] = field(default_factory=dict)
    plateau_causes: Sequence[str] = ()
    """Why this run may stop learning, the likeliest first."""
    eos_id: int | None = None
    """The token that ends a document; needed for trainer.document_mask."""
    stop_at: int | None = None
    """Last step to train, of a run of ``total_steps``; None trains them all."""
    val_bytes_per_token: float | None = None
    """UTF-8 bytes per validation token; without it no bits per byte are reported."""
    progress: Callable[[int, int, Metrics], None] | None = None
    """Told (step, total_steps, the latest metrics) after every step, on rank 0."""

    @property
    def last_step(self) -> int:
        return self.total_steps if self.stop_at is None else self.stop_at

    @property
    def tokens_per_step(self) -> int:
        return self.trainer.sequences_per_step * self.seq_len
