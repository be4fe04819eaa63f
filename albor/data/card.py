"""What a corpus is made of and what became of it, as plain data; what shows it is elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, TypeVar

from albor.data.errors import DataError

REBUILD = "build the run again with this albor, or read it with the one that made it"


class Plain:
    """A dataclass of plain values that is written as JSON."""

    def to_json(self) -> dict[str, Any]:
        """Mappings, lists, text and numbers only."""
        return asdict(self)  # type: ignore[call-overload,no-any-return]

    @classmethod
    def from_json(cls, value: object) -> Self:
        """What ``to_json`` gave. Raises DataError when it is no such thing, or one of another albor."""
        known = {f.name for f in fields(cls)}  # type: ignore[arg-type]
        if not isinstance(value, Mapping) or set(value) != known:
            found = ", ".join(map(str, value)) if isinstance(value, Mapping) else type(value).__name__
            cause = f"a {cls.__name__} has the fields {', '.join(sorted(known))}; found: {found}"
            raise DataError(cause, help=REBUILD)
        return cls(**value)


@dataclass(frozen=True, kw_only=True)
class SourceRow(Plain):
    """What one version of a package gave to one split, under one licence."""

    source: str
    package: str
    version: str
    licence: str
    split: str
    """train or val."""
    documents: int
    bytes: int
    """UTF-8 of the text."""
    tokens: int = 0
    """As packed: copies, sentinels and EOS counted; 0 while nothing is packed."""


@dataclass(frozen=True, kw_only=True)
class StepRow(Plain):
    """One step of the pipeline: ``taken == kept + sum(rejected.values())``."""

    name: str
    taken: int
    """Documents that the step saw."""
    kept: int
    rejected: dict[str, int]
    """Reason to documents."""
    bytes_taken: int
    bytes_kept: int


@dataclass(frozen=True, kw_only=True)
class Shard(Plain):
    """One file of rows."""

    file: str
    sha256: str
    rows: int
    tokens: int
    """Padding not counted."""
    bytes: int
    """Size of the file."""


@dataclass(frozen=True, kw_only=True)
class Lengths(Plain):
    """Documents by their length in characters, per split."""

    edges: list[int]
    """Lower edge of each bin, ascending; the first bin also holds what is shorter, the last what is longer."""
    train: list[int]
    """Documents in each bin."""
    val: list[int]


Row = TypeVar("Row", bound=Plain)


def rows_of(kind: type[Row], value: object) -> list[Row]:
    """A list of rows from JSON. Raises DataError."""
    if not isinstance(value, list):
        cause = f"a list of {kind.__name__} was expected, not {type(value).__name__}"
        raise DataError(cause, help=REBUILD)
    return [kind.from_json(row) for row in value]


@dataclass(frozen=True, kw_only=True)
class DataCard(Plain):
    """Everything there is to say about a packed corpus."""

    name: str
    tokenizer: str
    inputs: dict[str, str]
    """Input name to run id."""
    sources: list[SourceRow]
    steps: list[StepRow]
    """In the order of the pipeline."""
    shards: list[Shard]
    lengths: Lengths
    facts: dict[str, Any]
    """The pack run's: num_sequences, tokens, val_tokens, val_bytes, fill, row_len, vocab_size, pieces, …"""

    @classmethod
    def from_json(cls, value: object) -> Self:
        card = super().from_json(value)
        return cls(
            **{
                **vars(card),
                "sources": rows_of(SourceRow, card.sources),
                "steps": rows_of(StepRow, card.steps),
                "shards": rows_of(Shard, card.shards),
                "lengths": Lengths.from_json(card.lengths),
            }
        )
