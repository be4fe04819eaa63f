"""What a release's documents are: counts, steps and the documents themselves."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.audit.item import Unknowable
from albor.config.schema.data import Data
from albor.errors import AlborError
from albor.runs.store import Run

if TYPE_CHECKING:
    from pyarrow import ChunkedArray, Table

    from albor.data.card import SourceRow, StepRow

SAMPLE = 1_000
"""Documents of a file that are looked into."""


@dataclass(frozen=True)
class Sample:
    """What a look into some documents found."""

    count: int
    secrets: list[str]
    """Kind and place of what looks like a secret."""
    altered: list[str]
    """Documents whose recorded hash is not that of their text."""


@dataclass(frozen=True)
class Corpus:
    """The artifact of a prepare run."""

    run: Run
    config: Data

    @cached_property
    def sources(self) -> list[SourceRow]:
        from albor.data.card import SourceRow, rows_of

        return rows_of(SourceRow, read_json(self.run.artifact / "sources.json"))

    @cached_property
    def steps(self) -> dict[str, StepRow]:
        """By name, in their order."""
        from albor.data.card import StepRow, rows_of

        return {step.name: step for step in rows_of(StepRow, read_json(self.run.artifact / "steps.json"))}

    def step(self, name: str) -> StepRow:
        if name not in self.steps:
            raise Unknowable(f"steps.json of {self.run.directory.name} has no step '{name}'")
        return self.steps[name]

    def hashes(self, split: str) -> ChunkedArray:
        """SHA-256 of every document of a split. Raises DataError."""
        import pyarrow as pa

        return pa.chunked_array(
            [chunk for table in self._tables(split, ["sha256"]) for chunk in table.column(0).chunks], pa.string()
        )

    @cached_property
    def sample(self) -> Sample:
        """The first documents of every file. Raises DataError."""
        from albor.data.parquet import SPLITS
        from albor.data.secrets import secret

        count, secrets, altered = 0, [], []
        for split in SPLITS:
            for table in self._tables(split, ["text", "path", "package", "sha256"], most=SAMPLE):
                for row in table.to_pylist():
                    place = f"{row['package']}/{row['path']}"
                    count += 1
                    if kind := secret(row["text"]):
                        secrets.append(f"{kind} in {place}")
                    if hashlib.sha256(row["text"].encode()).hexdigest() != row["sha256"]:
                        altered.append(place)
        return Sample(count, secrets, altered)

    def _tables(self, split: str, columns: list[str], *, most: int | None = None) -> Iterator[Table]:
        """The row groups of a split's files; of each file no more than it takes to have ``most`` documents."""
        from albor.data.documents import SCHEMA
        from albor.data.parquet import open_file, refusing, shards

        for path in shards(self.run.artifact, split):
            file, read = open_file(path, columns={field.name: field.type for field in SCHEMA}), 0
            for group in range(file.num_row_groups):
                if most is not None and read >= most:
                    break
                with refusing(path):
                    table = file.read_row_group(group, columns=columns)
                read += len(table)
                yield table


def read_json(path: Path) -> Any:
    """Raises AlborError."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AlborError(f"{path.name} cannot be read: {error.strerror}", "build the run again") from None
    except ValueError:
        raise AlborError(f"{path.name} is no JSON", "build the run again", place=str(path)) from None
