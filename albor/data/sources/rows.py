"""Documents from the rows of JSONL and Parquet files, wherever these lie: one file may be several tasks."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import IO, Any

import pyarrow as pa

from albor.config.schema.sources import FilesSource, HubSource
from albor.data import licences
from albor.data.documents import Document
from albor.data.errors import DataError
from albor.data.sources import jsonl, parquet_rows
from albor.data.sources.base import Rejected, Task
from albor.data.sources.parquet_rows import Row
from albor.data.sources.store import Store

Source = FilesSource | HubSource
COMMIT_DIGITS = 12
_licence = lru_cache(maxsize=4096)(licences.spdx)


@dataclass(frozen=True, slots=True)
class Piece:
    """An item: the row groups of a Parquet file, or the lines that start in a range of bytes, from start to end."""

    file: str
    start: int = 0
    end: int | None = None
    """None is the end of the file."""

    def __str__(self) -> str:
        return f"{self.start}-{'' if self.end is None else self.end}:{self.file}"

    @staticmethod
    def of(item: str) -> Piece:
        place, _, file = item.partition(":")
        start, _, end = place.partition("-")
        return Piece(file, int(start), int(end) if end else None)


def read(store: Store, task: Task) -> Iterator[Document | Rejected]:
    """A row without text is rejected as "no_text"; for the other reasons see the readers of the formats."""
    found = (document for item in task.items for document in _documents(store, task, Piece.of(item)))
    return islice(found, task.limit)


def columns(source: Source) -> list[str]:
    """Those that the documents are made of."""
    licence = source.licence_column if source.licence is None else None
    wanted = (source.text, licence, source.package_column, source.path_column)
    return list(dict.fromkeys(column for column in wanted if column is not None))


def _documents(store: Store, task: Task, piece: Piece) -> Iterator[Document | Rejected]:
    source = task.source
    assert isinstance(source, FilesSource | HubSource)
    name = piece.file.encode(errors="replace").decode()
    with opening(store, piece.file) as opened:
        for number, row in _rows(opened, source, piece, task.max_characters):
            yield _document(task, source, f"{name}:{number}", row)


def _rows(opened: IO[bytes], source: Source, piece: Piece, max_characters: int) -> Iterator[tuple[int, Row]]:
    if is_parquet(piece.file):
        return parquet_rows.rows(opened, columns(source), source.text, piece.start, piece.end, max_characters)
    return jsonl.rows(opened, compression(piece.file), piece.start, piece.end, max_characters)


def _document(task: Task, source: Source, place: str, row: Row) -> Document | Rejected:
    if isinstance(row, str):
        return Rejected(place, row)
    text = row.get(source.text)
    if not isinstance(text, str):
        return Rejected(place, "no_text")
    if len(text) > task.max_characters:
        return Rejected(place, "too_long")
    package = _value(row, source.package_column) or place
    path = _value(row, source.path_column) or place
    licence = source.licence or _spdx(row.get(source.licence_column or ""))
    document = Document(text, task.name, package, _version(source), path, licence, task.tier, task.copies)
    try:
        # JSON may hold half a surrogate pair, which is no text.
        (text + package + path).encode()
    except UnicodeEncodeError:
        return Rejected(place, "encoding")
    return document


def _version(source: Source) -> str:
    """Of a dataset on the Hub, the commit that is read: tasks name it in full."""
    return source.revision[:COMMIT_DIGITS] if isinstance(source, HubSource) else ""


def _value(row: dict[str, Any], column: str | None) -> str | None:
    value = None if column is None else row.get(column)
    return None if value is None else str(value)


def _spdx(value: object) -> str:
    """Of several licences all hold."""
    if isinstance(value, list):
        value = " AND ".join(map(str, value))
    return _licence(value) if isinstance(value, str) else licences.UNKNOWN


def is_parquet(name: str) -> bool:
    return name.endswith(".parquet")


def compression(name: str) -> str | None:
    ending = name.rpartition(".")[2]
    return ending if ending in ("gz", "zst") else None


@contextmanager
def opening(store: Store, name: str) -> Iterator[IO[bytes]]:
    """The open file; what the readers say about a truncated or damaged one becomes a DataError."""
    try:
        with store.refusing(name), store.open(name) as opened:
            yield opened
    except (pa.ArrowException, EOFError, OSError, zlib.error, UnicodeDecodeError) as error:
        kind = "Parquet" if is_parquet(name) else "JSON lines"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{name} cannot be read as {kind}: {reason}", help="get the file again; it was cut off or damaged"
        ) from error
