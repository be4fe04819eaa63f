"""Which of a corpus's documents are kept, and how they become rows of tokens."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from albor.config.schema.sources import (
    FilesSource,
    HubSource,
    LocalSource,
    MixSource,
    PypiSource,
    StdlibSource,
)
from albor.config.types import Count, Fraction, Label, NonNegativeFloat, Positive, PositiveFraction, Recorded, Text

PERMISSIVE = (
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "0BSD",
    "Unlicense",
    "CC0-1.0",
    "Zlib",
    "PSF-2.0",
    "BSL-1.0",
)
"""Licences (SPDX) that ask for no more than attribution."""


@dataclass(frozen=True, kw_only=True)
class Filters:
    """What a document must be, judged alone; the constants are StarCoder's."""

    licences: tuple[Text, ...] = PERMISSIVE
    """SPDX licences that may be trained on; documents of any other, or of none that is known, are dropped."""
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
    syntax: bool = True
    """Drop what the running Python cannot parse; false for text that is not Python."""
    secrets: bool = True
    """Drop documents that hold what looks like a private key or an access token."""


@dataclass(frozen=True, kw_only=True)
class Dedup:
    """Near duplicates: MinHash finds candidates, the exact Jaccard similarity of their shingles decides.

    A pair of similarity J is found with probability 1 - (1 - J^rows)^bands. Exact duplicates go in any case.
    """

    near: bool = True
    """Drop near duplicates too."""
    threshold: PositiveFraction = 0.7
    """Jaccard similarity of two documents' shingles from which on one of them is dropped."""
    shingle: Positive = 5
    """Words per shingle; a document of fewer words has no near duplicates."""
    bands: Positive = 32
    """Bands of the MinHash signature; two documents that agree in one are compared."""
    rows: Positive = 8
    """Hashes per band."""


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """The files that models are evaluated on; no training document may hold a part of them."""

    data_dir: Annotated[Text | None, Recorded()] = None
    """Directory of benchmark files (JSON, JSONL, text; also compressed), searched at any depth; null knows none, and
    tasks fetch theirs from the Hub."""


@dataclass(frozen=True, kw_only=True)
class Data:
    """A corpus and the rows packed from it."""

    name: Label
    """What runs on this corpus are called."""
    source: StdlibSource | LocalSource | PypiSource | FilesSource | HubSource | MixSource
    """Where the documents come from."""
    filters: Filters = field(default_factory=Filters)
    """Which documents are kept."""
    dedup: Dedup = field(default_factory=Dedup)
    """Which of several similar documents are kept."""
    max_documents: Count | None = None
    """Read at most so many documents (in the source's order); null reads all."""
    max_words: Count | None = None
    """Refuse a corpus of more words (runs without white space) in its training split; null sets no limit."""
    val_fraction: Fraction = 0.08
    """Share of the packages held out, whole, for validation; not used when held_out names them."""
    held_out: tuple[Text, ...] = ()
    """Packages held out for validation, by name; what they share with others is dropped from training."""
    seq_len: Positive = 1024
    """Tokens per training sequence."""
    row_len: Positive | None = None
    """Tokens per packed row; null means seq_len. Longer rows are cut to seq_len when training."""
    num_sequences: Count | None = None
    """Training rows of a corpus that is not built here yet; the built dataset's own count overrides it."""
    fim_rate: Fraction = 0.5
    """Share of the training pieces (documents, cut to a row) in fill-in-the-middle form; validation has none."""
    fim_spm_rate: Fraction = 0.5
    """Of those, the share in suffix-prefix-middle order; the rest is prefix-suffix-middle."""
    fim_line_rate: Fraction = 0.75
    """Of those, the share whose hole is the rest of a line or of a few, as an editor asks for; that of the others
    begins and ends anywhere."""
    fim_min_tokens: Positive | None = 128
    """A row's length of text in this form is cut into 1, 2, 4 … pieces, of one hole each, all as likely, down to pieces
    of so many tokens: more holes to learn from, with less text around them. null always makes one."""

    @property
    def packed_len(self) -> int:
        return self.row_len or self.seq_len
