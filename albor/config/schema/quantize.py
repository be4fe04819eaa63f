"""What a model's numbers are stored as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q4_k_m"]
"""What a file is called by its linear layers. ``q4_k_m`` is llama.cpp's mixture of Q4_K and Q6_K."""
Type = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "q4_k", "q6_k"]
"""What a tensor's numbers are stored as."""


@dataclass(frozen=True, kw_only=True)
class Quantize:
    """A GGUF file."""

    kind: Kind = "q4_0"
    """What the blocks' matrices are stored as."""
    embedding: Type | None = None
    """What the embedding, which is the head too, is stored as; null takes the kind's own: q8_0 beside q4_0 and q5_0."""
