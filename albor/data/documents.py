"""A document and its Parquet file: what every step before tokenization reads and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from albor.data.parquet import open_file, refusing, write_file

SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in ("text", "source", "package", "path", "licence", "sha256")]
)
GROUP = 256
"""Documents per row group: what is held in memory at a time, a few megabytes."""


@dataclass(frozen=True, slots=True)
class Document:
    """One source file."""

    text: str
    """The file, decoded; line ends are as they were."""
    source: str
    """The kind of source it came from."""
    package: str
    """What it belongs to; a package is never split between training and validation."""
    path: str
    """Its path inside the source, with forward slashes."""
    licence: str
    """SPDX identifier."""

    @property
    def sha256(self) -> str:
        """Hash of the UTF-8 text: the document's identity, whatever it is called."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def write(path: Path, documents: Iterable[Document]) -> None:
    """Stream ``documents`` into ``path`` (zstd); the file appears when it is whole."""
    write_file(path, SCHEMA, _tables(documents), compression="zstd")


def read(path: Path) -> Iterator[Document]:
    """The documents of ``path`` in the order they were written, a row group in memory at a time.

    Raises:
        DataError: the file is missing, damaged or not a file of documents.
    """
    file = open_file(path, columns={field.name: field.type for field in SCHEMA})
    names = [name for name in SCHEMA.names if name != "sha256"]
    for group in range(file.num_row_groups):
        with refusing(path):
            rows = file.read_row_group(group, columns=names).to_pylist()
        for row in rows:
            yield Document(**row)


def count(path: Path) -> int:
    """How many documents ``path`` holds, from its footer."""
    return int(open_file(path, columns={field.name: field.type for field in SCHEMA}).metadata.num_rows)


def _tables(documents: Iterable[Document]) -> Iterator[pa.Table]:
    stream = iter(documents)
    while batch := list(islice(stream, GROUP)):
        columns = [[getattr(document, name) for document in batch] for name in SCHEMA.names]
        yield pa.table([pa.array(column, pa.string()) for column in columns], schema=SCHEMA)
