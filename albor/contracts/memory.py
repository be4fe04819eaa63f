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
FLOAT32_AND_GRADIENT = 8
LOGIT_BYTES = 2.5
"""Per token and word of the vocabulary, as the compiled loss was measured to hold them."""


def activation_bytes_per_token(model: Model, trainer: Trainer) -> float:
    """Saved for the backward pass: per block what norms, projections and attention read (``5H + 2D_q + 2D_kv``
    elements) and the feed-forward layer's three tensors (``3I``; fp8 keeps two), then the logits.

    Compiled bf16 this gives 1.04 MB a token at 350m, where one H200 measured 1.04; and 0.32 at 50m.
    """
    width = 4 if trainer.precision == "float32" else 2
    around = 5 * model.hidden_size + 2 * model.q_dim + 2 * model.kv_dim
    block = around + (2 if trainer.precision == "fp8" else 3) * model.intermediate_size
    if trainer.activation_checkpointing:  # the inputs of all, and one computed again
        saved = 2 * model.hidden_size * model.num_hidden_layers + block
    else:
        saved = block * model.num_hidden_layers
    return (1.0 if trainer.compile else EAGER) * width * saved + LOGIT_BYTES * model.vocab_size


def state_bytes(model: Model, trainer: Trainer, optim: AdamW | Muon) -> int:
    """Weights, gradients and optimizer state, and the bf16 copies that the matrix products read.

    FSDP leaves a share of it on each device, and gathers the embedding and a block while another one computes.
    """
    casts = 0 if trainer.precision == "float32" else 2
    block = model.hidden_size * (2 * model.q_dim + 2 * model.kv_dim + 3 * model.intermediate_size)
    whole = (STATE_BYTES + casts) * model.num_parameters
    if isinstance(optim, Muon):
        whole -= MUON_SAVES * model.num_hidden_layers * block
    if trainer.strategy != "fsdp" or trainer.world_size == 1:
        return whole
    gathered = model.vocab_size * model.hidden_size + 2 * block
    return whole // trainer.world_size + FLOAT32_AND_GRADIENT * gathered


def training_bytes(model: Model, trainer: Trainer, seq_len: int, optim: AdamW | Muon) -> int:
    """Memory of one device at the peak of a step."""
    tokens = trainer.micro_batch_size * seq_len
    return int(state_bytes(model, trainer, optim) + tokens * activation_bytes_per_token(model, trainer))


def checkpoint_bytes(model: Model, trainer: Trainer) -> int:
    """Disk that a training run fills: weights and moments of the checkpoints kept and of the one being written, and
    the exported model."""
    kept = trainer.keep_last + trainer.keep_best + 1
    return model.num_parameters * (12 * kept + 4)


def teacher_bytes(parameters: int, trainer: Trainer) -> int:
    """Weights of a model that computes beside the one that is trained."""
    return (4 if trainer.precision == "float32" else 2) * parameters


def largest_micro_batch(
    model: Model, trainer: Trainer, seq_len: int, memory: int, optim: AdamW | Muon, *, teacher: int = 0
) -> int:
    """The most sequences whose activations fit beside the state, and a ``teacher`` of so many bytes, in 92% of
    ``memory`` (the allocator needs the rest)."""
    room = 0.92 * memory - state_bytes(model, trainer, optim) - teacher
    return max(0, int(room // (seq_len * activation_bytes_per_token(model, trainer))))
