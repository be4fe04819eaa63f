"""Where text comes from, which of it is kept, and how it becomes rows of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from albor.config.types import Count, Fraction, Label, NonNegativeFloat, Positive, Text


@dataclass(frozen=True, kw_only=True)
class StdlibSource:
    """The running interpreter's own standard library: real code that is always there."""

    kind: Literal["stdlib"] = "stdlib"
    """The source's kind."""


@dataclass(frozen=True, kw_only=True)
class LocalSource:
    """Directories of Python files on this machine; each directory directly below a root is one package."""

    kind: Literal["local"] = "local"
    """The source's kind."""
    roots: tuple[Text, ...]
    """Directories to read: relative to the working directory, absolute, or below ~ (quoted)."""
    licence: Text
    """SPDX identifier of the licence of everything under the roots."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """Basic document filters; the constants are StarCoder's."""

    min_characters: Positive = 50
    """Shorter documents are dropped."""
    max_characters: Positive = 100_000
    """Longer documents are dropped."""
    max_line_length: Positive = 1_000
    """Documents with a longer line are dropped."""
    max_mean_line_length: NonNegativeFloat = 100.0
    """Documents whose lines are longer on average are dropped."""
    min_alphanumeric: Fraction = 0.25
    """Documents with a smaller share of letters and digits are dropped."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A corpus and the rows packed from it."""

    name: Label
    """What runs on this corpus are called."""
    source: StdlibSource | LocalSource
    """Where the documents come from."""
    filters: Filters = field(default_factory=Filters)
    """Which documents are kept."""
    max_documents: Count | None = None
    """Read at most so many documents (in the source's order); null reads all."""
    val_fraction: Fraction = 0.08
    """Share of the packages held out, whole, for validation."""
    seq_len: Positive = 1024
    """Tokens per training sequence."""
    row_len: Positive | None = None
    """Tokens per packed row; null means seq_len. Longer rows are cut to seq_len when training."""
    num_sequences: Count | None = None
    """Training rows of a corpus that is not built here yet; the built dataset's own count overrides it."""
    fim_rate: Fraction = 0.5
    """Share of the training documents turned into fill-in-the-middle form; validation is never transformed."""
    fim_spm_rate: Fraction = 0.5
    """Of those, the share in suffix-prefix-middle order; the rest is prefix-suffix-middle."""

    @property
    def packed_len(self) -> int:
        return self.row_len or self.seq_len
