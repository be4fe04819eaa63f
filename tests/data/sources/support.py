"""Short ways to lay out files and to read a source whole."""

from __future__ import annotations

import io
import tarfile
import zipfile
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


def tar_gz(*entries: tarfile.TarInfo | tuple[str, bytes]) -> bytes:
    """An archive of files (name, content) and of bare headers."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                name, content = entry
                header = tarfile.TarInfo(name)
                header.size = len(content)
                archive.addfile(header, io.BytesIO(content))
    return buffer.getvalue()


def zipped(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method, compresslevel=1) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return buffer.getvalue()


def header(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry
