"""What a corpus is made of, counted: the data behind its card, its provenance page and its statistics."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

SPLITS = ("train", "val")


@dataclass(frozen=True, kw_only=True)
class SourceRow:
    """The documents of one package in one split."""

    source: str
    package: str
    version: str
    licence: str
    split: str
    documents: int
    bytes: int
    """UTF-8, of the text as it is, without copies."""
    tokens: int = 0
    """As packed: copies, sentinels and EOS counted; 0 before packing."""


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """What one step did; taken = kept + the sum of rejected."""

    name: str
    taken: int
    kept: int
    rejected: dict[str, int]
    """Documents by reason."""
    bytes_taken: int
    bytes_kept: int


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One file of packed rows."""

    file: str
    sha256: str
    rows: int
    tokens: int
    """Padding not counted."""
    bytes: int


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """Documents by length in characters."""

    edges: list[int]
    """Lower edges of the bins, powers of two; the last bin is open."""
    train: list[int]
    val: list[int]


@dataclass(frozen=True, kw_only=True)
class DataCard:
    """Everything that is known about a packed corpus."""

    name: str
    tokenizer: str
    inputs: dict[str, str]
    """Input name to the id of the run that made it."""
    sources: list[SourceRow]
    steps: list[StepRow]
    shards: list[Shard]
    lengths: Lengths
    facts: dict[str, Any]
    """What the pack stage says of its rows."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> DataCard:
        """Raises KeyError or TypeError when ``data`` is not a card."""
        return cls(
            **data
            | {
                "sources": [SourceRow(**row) for row in data["sources"]],
                "steps": [StepRow(**row) for row in data["steps"]],
                "shards": [Shard(**row) for row in data["shards"]],
                "lengths": Lengths(**data["lengths"]),
            }
        )
