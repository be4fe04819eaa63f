"""A document and its Parquet file: what every step before tokenization reads and writes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from albor.data.parquet import open_file, refusing, write_file

_TEXT = ("text", "source", "package", "version", "path", "licence", "sha256")
_NUMBERS = ("tier", "copies")
SCHEMA = pa.schema(
    [pa.field(name, pa.string(), nullable=False) for name in _TEXT]
    + [pa.field(name, pa.int32(), nullable=False) for name in _NUMBERS]
)
GROUP = 256
"""Documents per row group: what is held in memory at a time, a few megabytes."""


@dataclass(frozen=True, slots=True)
class Document:
    """One source file."""

    text: str
    """The file, decoded; line ends are as they were."""
    source: str
    """The source it came from: its kind, or its name in a mix."""
    package: str
    """What it belongs to; a package is never split between training and validation."""
    version: str
    """Version of the package, or "" where there is none."""
    path: str
    """Its path inside the source, with forward slashes."""
    licence: str
    """SPDX identifier, or "unknown"."""
    tier: int = 0
    """Place of its source in the mix; of two similar documents the one of the lower tier is kept."""
    copies: int = 1
    """How often it is repeated when it is packed for training."""

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
    names = [name for name in SCHEMA.names if name != "sha256"]
    for table in _groups(path, names):
        for row in table.to_pylist():
            yield Document(**row)


def sample(paths: Sequence[Path], size: int) -> Iterator[Document]:
    """About ``size`` bytes of the documents in ``paths``, chosen by their hash: the same ones in any order of files."""
    total = sum(_text_bytes(path) for path in paths)
    limit = min(1.0, size / max(total, 1)) * 2**64
    for path in paths:
        yield from (document for document in read(path) if int(document.sha256[:16], 16) < limit)


def _text_bytes(path: Path) -> int:
    """Bytes of all texts, from the footer, with the few that Parquet adds."""
    metadata = open_file(path, columns={field.name: field.type for field in SCHEMA}).metadata
    return sum(metadata.row_group(group).column(0).total_uncompressed_size for group in range(metadata.num_row_groups))


def filtered(path: Path, mask: NDArray[np.bool_]) -> Iterator[pa.Table]:
    """The documents of ``path`` that ``mask`` keeps, as tables of SCHEMA; none of them is empty."""
    start = 0
    for table in _groups(path, SCHEMA.names):
        kept = table.filter(pa.array(mask[start : start + len(table)]))
        start += len(table)
        if len(kept):
            yield kept


def _groups(path: Path, columns: list[str]) -> Iterator[pa.Table]:
    file = open_file(path, columns={field.name: field.type for field in SCHEMA})
    for group in range(file.num_row_groups):
        with refusing(path):
            table = file.read_row_group(group, columns=columns)
        yield table


def _tables(documents: Iterable[Document]) -> Iterator[pa.Table]:
    stream = iter(documents)
    while batch := list(islice(stream, GROUP)):
        columns = [pa.array([getattr(d, f.name) for d in batch], f.type) for f in SCHEMA]
        yield pa.table(columns, schema=SCHEMA)
