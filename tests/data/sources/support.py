"""Short ways to lay out files and to read a source whole."""

from __future__ import annotations

from pathlib import Path

from albor.config.schema.sources import LocalSource, Source
from albor.data import sources
from albor.data.documents import Document
from albor.data.sources import Rejected

MAX = 100_000


def local(*roots: Path) -> LocalSource:
    return LocalSource(roots=tuple(map(str, roots)), licence="MIT")


def put(root: Path, path: str, content: bytes = b"x = 1\n") -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def everything(source: Source, *, limit: int | None = None, max_characters: int = MAX) -> list[Document | Rejected]:
    return [
        item
        for task in sources.tasks(source, limit=limit, max_characters=max_characters)
        for item in sources.read(task)
    ]


def kept(source: Source, *, limit: int | None = None, max_characters: int = MAX) -> list[Document]:
    return [d for d in everything(source, limit=limit, max_characters=max_characters) if isinstance(d, Document)]


def rejected(source: Source, *, limit: int | None = None, max_characters: int = MAX) -> list[tuple[str, str]]:
    found = everything(source, limit=limit, max_characters=max_characters)
    return [(item.path, item.reason) for item in found if isinstance(item, Rejected)]
