"""Where files of rows lie, as their readers see it: a list of names to open."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import IO, Protocol

from albor.data.errors import DataError

ENDINGS = (".parquet", ".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".json.gz", ".json.zst")


@dataclass(frozen=True, slots=True)
class File:
    """One file of a source."""

    name: str
    """What the documents' paths start with; no two files of a source have the same."""
    size: int
    digest: str
    """Tells one content from another."""


class Store(Protocol):
    """A place to read files from."""

    def files(self) -> list[File]:
        """In a stable order. Raises DataError when there are none or the store cannot be used."""

    def open(self, name: str) -> IO[bytes]:
        """For reading in any order."""

    def refusing(self, name: str) -> AbstractContextManager[None]:
        """Turns what the store may raise while the file is opened and read into a DataError."""


def checked(pattern: str, files: list[File]) -> list[File]:
    """What ``pattern`` found, if that is something and can be read.

    Raises:
        DataError: it found nothing, or a file of another kind.
    """
    if not files:
        raise DataError(
            f"data.source.paths: no file matches {pattern}", help="name files, or patterns such as data/**/*.parquet"
        )
    if other := next((file.name for file in files if not file.name.endswith(ENDINGS)), None):
        raise DataError(
            f"data.source.paths: {other} (by {pattern}) is neither Parquet nor JSON lines by its name",
            help=f"choose files that end in {', '.join(ENDINGS)}",
        )
    return files
