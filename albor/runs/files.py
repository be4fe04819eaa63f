"""Files that are whole or absent: write beside, fsync, rename, fsync the directory."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

CHUNK = 1 << 20


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block succeeds and is removed when it fails."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def atomic_directory(path: Path) -> Iterator[Path]:
    """A temporary directory beside ``path`` that gets its name when the block succeeds and is removed when it fails.

    Raises FileExistsError when there is something in ``path``.
    """
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"))
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                with file.open("rb") as opened:
                    os.fsync(opened.fileno())
        fsync_directory(temporary)
        temporary.chmod(0o755)
        if path.exists() and any(path.iterdir()):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
        temporary.replace(path)
        fsync_directory(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def fsync_directory(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_files(
    paths: Sequence[Path], progress: Callable[[int, Path], None] = lambda index, path: None
) -> list[str | OSError]:
    """The hashes of files, by all cores (hashing lets go of Python's lock); of one that cannot be read, why."""

    def outcome(path: Path) -> str | OSError:
        try:
            return sha256_file(path)
        except OSError as error:
            return error

    found: list[str | OSError] = [""] * len(paths)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            running = {pool.submit(outcome, path): index for index, path in enumerate(paths)}
            for ended in as_completed(running):
                found[running[ended]] = ended.result()
                progress(running[ended], paths[running[ended]])
        finally:
            pool.shutdown(cancel_futures=True)
    return found


def listing_digest(root: Path, names: Iterable[str]) -> str:
    """SHA-256 over the names, sizes and modification times of files below ``root``: changes when a file does."""
    digest = hashlib.sha256()
    for name in names:
        status = (root / name).stat()
        digest.update(b"%s\0%d\0%d\n" % (os.fsencode(name), status.st_size, status.st_mtime_ns))
    return digest.hexdigest()
