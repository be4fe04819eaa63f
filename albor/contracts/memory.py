"""What training holds in memory and on disk, counted from shapes."""

from __future__ import annotations

from albor.config.schema.model import Model
from albor.config.schema.trainer import Trainer

STATE_BYTES = 16
"""Per parameter: float32 weight, gradient and two moments."""
EAGER = 1.7
"""Eager mode keeps what a compiled graph recomputes or fuses away (measured at 350m: 1.71 MB a token, not 1.02)."""
CHECKPOINTS_KEPT = 3
"""Two good ones and the one being written."""


def activation_bytes_per_token(model: Model, trainer: Trainer) -> float:
    """Saved for the backward pass: per block the inputs of norms and projections, and three feed-forward tensors
    (``5H + 2D_kv + 3I`` elements), then the logits and their float32 softmax (``V``).

    Compiled bf16 at 350m this gives 1.06 MB a token; one H200 measured 1.02.
    """
    width = 4 if trainer.precision == "float32" else 2
    block = 5 * model.hidden_size + 2 * model.kv_dim + 3 * model.intermediate_size
    factor = 1.0 if trainer.compile else EAGER
    return factor * width * model.num_hidden_layers * block + model.vocab_size * (width + 4)


def state_bytes(model: Model, trainer: Trainer) -> int:
    """Weights, gradients and optimizer state, and the bf16 copies that the matrix products read."""
    casts = 0 if trainer.precision == "float32" else 2
    return (STATE_BYTES + casts) * model.num_parameters


def training_bytes(model: Model, trainer: Trainer, seq_len: int) -> int:
    """Memory of one device at the peak of a step."""
    tokens = trainer.micro_batch_size * seq_len
    return int(state_bytes(model, trainer) + tokens * activation_bytes_per_token(model, trainer))


def checkpoint_bytes(model: Model, trainer: Trainer | None = None) -> int:
    """Disk that a training run fills: weights and moments of the checkpoints kept and of the one being written, and
    the exported model; without ``trainer``, of two kept ones."""
    kept = trainer.keep_last + trainer.keep_best + 1 if trainer else CHECKPOINTS_KEPT
    return model.num_parameters * (12 * kept + 4)


def largest_micro_batch(model: Model, trainer: Trainer, seq_len: int, memory: int) -> int:
    """The most sequences whose activations fit beside the state in 92% of ``memory`` (the allocator needs the rest)."""
    room = 0.92 * memory - state_bytes(model, trainer)
    return max(0, int(room // (seq_len * activation_bytes_per_token(model, trainer))))
