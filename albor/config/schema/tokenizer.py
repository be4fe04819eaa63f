"""Tokenizers: a byte-level BPE of our own, or any Hugging Face fast tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Le

from albor.config.types import Bytes, Label, Positive, Text

SPECIAL_TOKENS: tuple[str, ...] = (
    "<|endoftext|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
    "<|fim_pad|>",
    "<|repo_name|>",
    "<|file_sep|>",
    "<|im_start|>",
    "<|im_end|>",
    *(f"<|reserved_{i}|>" for i in range(7)),
)
"""Sixteen specials; a token's position here is its id in every tokenizer that albor trains."""

FIM_NAMES: tuple[tuple[str, str, str], ...] = (
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),
)
"""What models call their fill-in-the-middle tokens: ours and Qwen's, StarCoder's, SantaCoder's."""

MIN_BPE_VOCAB = len(SPECIAL_TOKENS) + 256
"""Specials and the full byte alphabet."""


@dataclass(frozen=True, kw_only=True)
class BpeTokenizer:
    """Byte-level BPE with digits split one by one, trained on the corpus's training split."""

    kind: Literal["bpe"] = "bpe"
    """The tokenizer's kind."""
    name: Label
    """What runs of this tokenizer are called."""
    vocab_size: Positive
    """Exact size of the vocabulary, the sixteen specials included."""
    train_bytes: Annotated[Bytes, Le(2**30)] = 32 * 2**20
    """Text to learn it from: of a larger training split, a random part of about this size. The trainer counts
    pairs in 32 bits: 1 GiB at most."""


@dataclass(frozen=True, kw_only=True)
class HfTokenizer:
    """An existing Hugging Face fast tokenizer, from a local ``tokenizer.json`` or from the Hub."""

    kind: Literal["hf"] = "hf"
    """The tokenizer's kind."""
    name: Label
    """What runs of this tokenizer are called."""
    path: Text
    """A tokenizer.json, a directory that holds one, or a Hub repository (org/name)."""
    vocab_size: Positive
    """Its vocabulary, added tokens included; checked when it is loaded."""
    eos_token: Text = "<|endoftext|>"
    """The token that ends a document."""
    pad_token: Text = "<|fim_pad|>"
    """The token that fills the end of a row."""
    fim_prefix: Text | None = None
    """The token before a prefix; null when the tokenizer has no fill-in-the-middle tokens."""
    fim_suffix: Text | None = None
    """The token before a suffix."""
    fim_middle: Text | None = None
    """The token before a middle."""
