"""What training holds in memory and on disk, counted from shapes."""

from __future__ import annotations

from albor.config.schema.model import Model
from albor.config.schema.optim import AdamW, Muon
from albor.config.schema.trainer import Trainer

STATE_BYTES = 16
"""Per parameter: float32 weight, gradient and AdamW's two moments."""
MUON_SAVES = 4
"""Per element of the blocks' matrices: Muon has one moment. What a step of it works with, at most half a gigabyte, lies
where the activations were."""
EAGER = 1.7
"""Eager mode keeps what a compiled graph recomputes or fuses away (measured at 350m: 1.71 MB a token, not 1.02)."""


def activation_bytes_per_token(model: Model, trainer: Trainer) -> float:
    """Saved for the backward pass: per block the inputs of norms and projections, and three feed-forward tensors
    (``5H + 2D_kv + 3I`` elements), then the logits and their float32 softmax (``V``).

    Compiled bf16 at 350m this gives 1.06 MB a token; one H200 measured 1.02.
    """
    width = 4 if trainer.precision == "float32" else 2
    block = 5 * model.hidden_size + 2 * model.kv_dim + 3 * model.intermediate_size
    factor = 1.0 if trainer.compile else EAGER
    return factor * width * model.num_hidden_layers * block + model.vocab_size * (width + 4)


def state_bytes(model: Model, trainer: Trainer, optim: AdamW | Muon) -> int:
    """Weights, gradients and optimizer state, and the bf16 copies that the matrix products read."""
    casts = 0 if trainer.precision == "float32" else 2
    by_adamw = (STATE_BYTES + casts) * model.num_parameters
    if not isinstance(optim, Muon):
        return by_adamw
    block = model.hidden_size * (2 * model.hidden_size + 2 * model.kv_dim + 3 * model.intermediate_size)
    return by_adamw - MUON_SAVES * model.num_hidden_layers * block


def training_bytes(model: Model, trainer: Trainer, seq_len: int, optim: AdamW | Muon) -> int:
    """Memory of one device at the peak of a step."""
    tokens = trainer.micro_batch_size * seq_len
    return int(state_bytes(model, trainer, optim) + tokens * activation_bytes_per_token(model, trainer))


def checkpoint_bytes(model: Model, trainer: Trainer) -> int:
    """Disk that a training run fills: weights and moments of the checkpoints kept and of the one being written, and
    the exported model."""
    kept = trainer.keep_last + trainer.keep_best + 1
    return model.num_parameters * (12 * kept + 4)


def largest_micro_batch(model: Model, trainer: Trainer, seq_len: int, memory: int, optim: AdamW | Muon) -> int:
    """The most sequences whose activations fit beside the state in 92% of ``memory`` (the allocator needs the rest)."""
    room = 0.92 * memory - state_bytes(model, trainer, optim)
    return max(0, int(room // (seq_len * activation_bytes_per_token(model, trainer))))
