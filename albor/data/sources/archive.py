"""The members of a .tar.gz or .zip archive, one after the other, never written to disk.

An archive is somebody else's: names are given as they stand and are the caller's to judge, nothing is followed, and
what unpacks to far more than its size is refused, wherever in the archive the excess is.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Literal, cast

from albor.data.errors import DataError

MAX_MEMBERS = 200_000
MAX_BYTES = 8 << 30
"""Uncompressed bytes of an archive."""
MAX_RATIO = 100
"""Uncompressed bytes per byte of the archive; source code packs to a fifth, deflate ends at a thousandth."""
ROOM = 64 << 20
"""Uncompressed bytes that an archive of any size may have: a small one of very regular text is no bomb."""
MAX_HEADER = 1 << 20
"""Bytes of one tar header: tarfile takes a header's own word for its size and reads it into memory."""
CHUNK = 1 << 20

Kind = Literal["file", "link", "device"]


@dataclass(frozen=True, slots=True)
class Member:
    """One entry that is not a directory."""

    path: str
    """As the archive has it: it may be absolute, or lead out by ``..``."""
    kind: Kind
    size: int
    """Uncompressed bytes."""
    read: Callable[[], bytes]
    """The content of a file; to be called, at most once, before the next member is asked for."""


def members(path: Path) -> Iterator[Member]:
    """The entries of the archive in its own order.

    Raises:
        DataError: it is no such archive, is cut off or damaged, or unpacks to an absurd size.
    """
    with _refusing(path), path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        allowed = min(MAX_BYTES, max(ROOM, MAX_RATIO * path.stat().st_size))
        entries = {b"\x1f\x8b": _tar, b"PK": _zip}.get(magic)
        if entries is None:
            raise tarfile.ReadError("it is neither .tar.gz nor .zip")
        for number, member in enumerate(entries(file, allowed)):
            if number >= MAX_MEMBERS:
                raise _Bomb(f"more than {MAX_MEMBERS} members")
            yield replace(member, read=partial(_read, path, member))


def _read(path: Path, member: Member) -> bytes:
    with _refusing(path):
        return member.read()


class _Bomb(Exception):
    """The archive is larger inside than any real one."""


class _Forwards:
    """What tarfile needs of a file, over a stream that is only read forwards, and never beyond ``allowed`` bytes."""

    def __init__(self, stream: IO[bytes], allowed: int) -> None:
        self._stream = stream
        self._allowed = allowed
        self._position = 0
        self.last = b""
        """What was read last as a header."""

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        while self._position < position and self._advance(min(CHUNK, position - self._position)):
            pass
        if self._position > position:
            raise tarfile.ReadError("a header points backwards")
        return self._position

    def read(self, size: int) -> bytes:
        """For tarfile, which reads nothing but headers: content goes through `take`."""
        if size > MAX_HEADER:
            raise _Bomb(f"a header of {size} bytes")
        self.last = self._advance(size)
        return self.last

    def take(self, start: int, size: int) -> bytes:
        self.seek(start)
        content = self._advance(size)
        if len(content) < size:
            raise tarfile.ReadError("unexpected end of data")
        return content

    def _advance(self, size: int) -> bytes:
        content = self._stream.read(size)
        self._position += len(content)
        if self._position > self._allowed:
            raise _Bomb(f"more than {self._allowed} bytes unpacked")
        return content


def _tar(file: IO[bytes], allowed: int) -> Iterator[Member]:
    stream = _Forwards(cast(IO[bytes], gzip.GzipFile(fileobj=file)), allowed)
    with tarfile.open(fileobj=cast(IO[bytes], stream), mode="r:") as archive:
        while entry := archive.next():
            archive.members = []  # type: ignore[attr-defined] # tarfile would keep them all
            if not entry.isdir():
                content = partial(stream.take, entry.offset_data, entry.size)
                yield Member(entry.name, _tar_kind(entry), entry.size, content)
    # tarfile takes a damaged header for the end, which is a block of zeros or the end of the file.
    if stream.last.strip(b"\0"):
        raise tarfile.ReadError("a damaged header")
    while stream.read(CHUNK):  # gzip's checksum comes last
        pass


def _tar_kind(entry: tarfile.TarInfo) -> Kind:
    if entry.islnk() or entry.issym():
        return "link"
    # Of a sparse file the archive holds only the parts that are not zeros: no source file is one.
    return "file" if entry.isreg() and not entry.issparse() else "device"


def _zip(file: IO[bytes], allowed: int) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        # zipfile gives no more of a member than its stated size.
        if (total := sum(entry.file_size for entry in entries)) > allowed:
            raise _Bomb(f"{total} bytes unpacked")
        for entry in entries:
            if not entry.is_dir():
                yield Member(entry.filename, _zip_kind(entry), entry.file_size, partial(archive.read, entry))


def _zip_kind(entry: zipfile.ZipInfo) -> Kind:
    mode = entry.external_attr >> 16
    if stat.S_ISLNK(mode):
        return "link"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "device"


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Turn what the libraries say about a bad archive into a DataError.

    zipfile says RuntimeError of an encrypted member and NotImplementedError of an unknown compression; tarfile
    recurses once per header that belongs to another, and takes numbers as they come.
    """
    try:
        yield
    except _Bomb as error:
        raise DataError(
            f"{path.name} unpacks to an absurd size: {error}", help="take it out of data.source.packages"
        ) from error
    except (
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        OSError,
        ValueError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise DataError(
            f"{path.name} cannot be read as an archive: {error}",
            help="take it out of data.source.packages, or pin another version",
        ) from error
