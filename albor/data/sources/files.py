"""JSONL and Parquet files on this machine."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from albor.config.schema.sources import FilesSource
from albor.data.errors import DataError
from albor.data.sources.base import Kind, Rejected, Task, expand, no_fetch
from albor.data.sources.store import File, checked

if TYPE_CHECKING:
    from albor.data.documents import Document


@dataclass(frozen=True)
class Local:
    """The files of ``paths``, which are absolute, pattern by pattern, sorted.

    A file is called by its path from where its pattern begins; with several patterns, the pattern's place among them
    comes first. Where on the machine the files lie does not matter.
    """

    paths: tuple[str, ...]

    @staticmethod
    def of(source: FilesSource) -> Local:
        """Raises DataError for a path that can match nothing on any machine."""
        return Local(tuple(str(_checked(expand(path))) for path in source.paths))

    def files(self) -> list[File]:
        return [file for place, pattern in enumerate(self.paths) for file in checked(pattern, self._found(place))]

    def open(self, name: str) -> IO[bytes]:
        return self._path(name).open("rb")

    @contextmanager
    def refusing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, PermissionError) as error:
            raise DataError(
                f"{self._path(name)} cannot be opened: {error.strerror}",
                help="put it back, or change data.source.paths",
            ) from error

    def _found(self, place: int) -> list[File]:
        pattern = Path(self.paths[place])
        root = _root(pattern)
        found = [pattern] if pattern.exists() else root.glob(str(pattern.relative_to(root)))
        names = sorted(path.relative_to(root).as_posix() for path in found if path.is_file())
        return [self._file(f"{place}/{name}" if len(self.paths) > 1 else name) for name in names]

    def _file(self, name: str) -> File:
        status = self._path(name).stat()
        return File(name, status.st_size, f"{status.st_size} {status.st_mtime_ns}")

    def _path(self, name: str) -> Path:
        place, _, below = name.partition("/") if len(self.paths) > 1 else ("0", "", name)
        return _root(Path(self.paths[int(place)])) / below


def fingerprint(source: FilesSource) -> dict[str, str]:
    """Names, sizes and modification times."""
    local = Local.of(source)
    try:
        files = local.files()
    except DataError:
        return {"listing": "missing"}
    listing = "\n".join(f"{file.name} {file.digest}" for file in files)
    return {"listing": hashlib.sha256(listing.encode(errors="surrogateescape")).hexdigest()}


def tasks(source: FilesSource, name: str, limit: int | None, max_characters: int) -> list[Task]:
    from albor.data.sources import row_tasks

    local = Local.of(source)
    return row_tasks.tasks(local, replace(source, paths=local.paths), name, limit, max_characters)


def read(task: Task) -> Iterator[Document | Rejected]:
    from albor.data.sources import rows

    assert isinstance(task.source, FilesSource)
    return rows.read(Local(task.source.paths), task)


KIND = Kind(fingerprint=fingerprint, fetch=no_fetch, tasks=tasks, read=read)


def _checked(pattern: Path) -> Path:
    if any("**" in part and part != "**" for part in pattern.parts) and not pattern.exists():
        raise DataError(
            f"data.source.paths: {pattern} has ** within a name",
            help="** stands for directories: write data/**/*.parquet",
        )
    return pattern


def _root(pattern: Path) -> Path:
    """The directory in which a pattern begins."""
    if pattern.exists():
        return pattern.parent
    fixed = pattern
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    return fixed if fixed != pattern else pattern.parent
