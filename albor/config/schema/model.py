"""The decoder's shape and what follows from it: parameters, tensors, FLOPs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from annotated_types import Interval

from albor.config.types import Label, Positive, PositiveFloat


@dataclass(frozen=True, kw_only=True)
class Model:
    """A decoder-only transformer in the Llama layout: pre-norm RMSNorm, RoPE, grouped-query attention, SwiGLU,
    no biases, tied embeddings."""

    name: Label
    """What runs of this model are called."""
    hidden_size: Positive
    """Width of the residual stream."""
    num_hidden_layers: Positive
    """Number of decoder blocks."""
    num_attention_heads: Positive
    """Query heads; must divide hidden_size, or have a head_dim and qk_norm."""
    num_key_value_heads: Positive
    """Key and value heads; must divide num_attention_heads."""
    head_dim: Positive | None = None
    """Width of a head; null takes hidden_size / num_attention_heads. Pruning heads leaves it as it is."""
    intermediate_size: Positive
    """Width of the SwiGLU feed-forward layer."""
    vocab_size: Positive
    """Rows of the embedding; equals the tokenizer's vocabulary, specials included."""
    max_position_embeddings: Positive = 2048
    """Context: the longest sequence the model is meant for."""
    rope_theta: PositiveFloat = 10_000.0
    """Base of the rotary position frequencies."""
    rms_norm_eps: PositiveFloat = 1e-5
    """Added to the mean square inside RMSNorm."""
    initializer_range: PositiveFloat = 0.02
    """Standard deviation of the initial weights."""
    qk_norm: bool = False
    """RMSNorm of each head's queries and keys before they are rotated, as in Qwen3: tolerates larger learning rates."""
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Share of what each block adds to the residual stream that is zeroed while training."""

    @property
    def head_width(self) -> int:
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def any_heads(self) -> bool:
        """Whether heads need not divide the width: transformers reads no such Llama, whatever its head_dim."""
        return self.head_dim is not None and self.qk_norm

    @property
    def q_dim(self) -> int:
        return self.head_width * self.num_attention_heads

    @property
    def kv_dim(self) -> int:
        return self.head_width * self.num_key_value_heads

    @property
    def num_parameters(self) -> int:
        """``V·H + L·(2H + 2H·D_q + 2H·D_kv + 3·H·I) + H`` (tied embeddings, no biases; D_q is H unless head_dim is
        given)."""
        h, i = self.hidden_size, self.intermediate_size
        norms = 2 * h + (2 * self.head_width if self.qk_norm else 0)
        block = norms + 2 * h * self.q_dim + 2 * h * self.kv_dim + 3 * h * i
        return self.vocab_size * h + self.num_hidden_layers * block + h

    @property
    def num_tensors(self) -> int:
        """Nine per block (eleven with QK-norm), the embedding and the final norm."""
        return (11 if self.qk_norm else 9) * self.num_hidden_layers + 2

    def flops_per_token(self, seq_len: int) -> int:
        """Training FLOPs per token, forward and backward: ``6·P + 12·L·D_q·T`` (PaLM, appendix B)."""
        return 6 * self.num_parameters + 12 * self.num_hidden_layers * self.q_dim * seq_len
