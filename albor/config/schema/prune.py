"""Ways to make a model smaller: weights that become zero, or blocks and channels that go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from albor.config.schema.quantize import Kind, Type
from albor.config.types import Bytes, Fraction, NonNegative, Positive, PositiveFloat, PositiveFraction

Pattern = Literal["unstructured", "2:4", "4:8"]
"""Which weights may be zero: any, or so many of each group of so many inputs."""


@dataclass(frozen=True, kw_only=True)
class Calibrated:
    """What every method has that looks at what the model computes."""

    calibration_rows: Positive = 128
    """Rows of text that the statistics are taken over."""


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """What every method has that sets weights of the blocks' matrices to zero; embeddings and norms stay."""

    sparsity: Fraction = 0.5
    """Share of each matrix that becomes zero."""
    pattern: Pattern = "unstructured"
    """Where zeros may be; 2:4 and 4:8 need a sparsity of a half."""


@dataclass(frozen=True, kw_only=True)
class Magnitude(Sparse):
    """The smallest weights of each matrix go."""

    kind: Literal["magnitude"] = "magnitude"
    """The method's kind."""


@dataclass(frozen=True, kw_only=True)
class Wanda(Sparse, Calibrated):
    """The weights go that are smallest when multiplied by their input's norm, output by output (Sun et al., 2023)."""

    kind: Literal["wanda"] = "wanda"
    """The method's kind."""


@dataclass(frozen=True, kw_only=True)
class SparseGpt(Sparse, Calibrated):
    """The weights go that cost least once those that stay have made up for them (Frantar and Alistarh, 2023)."""

    kind: Literal["sparsegpt"] = "sparsegpt"
    """The method's kind."""
    dampening: PositiveFloat = 0.01
    """Added to the Hessian's diagonal, as a share of its mean."""
    block: Positive = 128
    """Inputs whose weights are chosen together."""


@dataclass(frozen=True, kw_only=True)
class Depth(Calibrated):
    """Whole blocks go, those that change the residual stream least (ShortGPT: Men et al., 2024)."""

    kind: Literal["depth"] = "depth"
    """The method's kind."""
    ratio: Fraction = 0.25
    """Share of the blocks that goes, rounded to whole ones."""
    layers: Positive | None = None
    """Blocks to keep, instead of a ratio."""


@dataclass(frozen=True, kw_only=True)
class Heads(Calibrated):
    """What every method has that makes blocks narrower: heads may go, too, as many of each block, those that add least
    to the residual stream. They go in groups: a key and value head with the query heads that share it."""

    head_ratio: Fraction = 0.0
    """Share of the heads that goes, rounded to whole groups."""
    num_attention_heads: Positive | None = None
    """Query heads to keep, instead of a ratio."""


@dataclass(frozen=True, kw_only=True)
class Width(Heads):
    """Feed-forward channels and heads go, as many of each block, those that add least to the residual stream."""

    kind: Literal["width"] = "width"
    """The method's kind."""
    ratio: Fraction = 0.25
    """Share of the channels that goes."""
    intermediate_size: Positive | None = None
    """Channels to keep, instead of a ratio."""
    multiple: Positive = 32
    """With a ratio, the channels that stay are a multiple of this: of 32 for Q4_0, of 256 for Q4_K."""


@dataclass(frozen=True, kw_only=True)
class Storage:
    """How a GGUF file stores a model; its norms are float32."""

    matrices: Kind = "q4_0"
    """The blocks' matrices."""
    embedding: Type | None = None
    """The embedding, which is the head too; null takes what goes with the matrices, q8_0 beside q4_0."""
    overhead: NonNegative | None = None
    """Bytes of the tokenizer; null reckons with 33 of each of its tokens."""


@dataclass(frozen=True, kw_only=True)
class Target(Heads, Storage):
    """Blocks and feed-forward channels go until the model's file has a size, in like shares; heads, as many as said."""

    kind: Literal["size"] = "size"
    """The method's kind."""
    bytes: Bytes = 100_000_000
    """Largest size of the GGUF file."""
    share: PositiveFraction | None = None
    """Largest share of the unpruned model's file; null takes bytes."""
    multiple: Positive = 32
    """The channels that stay are a multiple of this, and of a block of the format."""


Prune = Wanda | Magnitude | SparseGpt | Depth | Width | Target
