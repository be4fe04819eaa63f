"""Files in directories: the running interpreter's standard library, and local roots."""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from albor.config.schema.sources import LocalSource, StdlibSource
from albor.data.errors import DataError
from albor.data.sources.base import Kind, Rejected, Task, expand, no_fetch
from albor.data.sources.grouping import group
from albor.data.sources.rules import LONGEST, skip

if TYPE_CHECKING:
    from albor.data.documents import Document

NOT_STDLIB = frozenset({"site-packages", "dist-packages", "lib-dynload", "test", "tests", "idle_test"})
"""Directories under the standard library that are installed packages, binaries or its own tests."""
BUILD_CONFIGURATION = ("config-", "_sysconfigdata")
"""Names that start so hold one machine's build settings: the corpus would differ between two equal Pythons."""


PROJECT = (".git", "pyproject.toml", "setup.py")
"""What makes a root a project of its own, and so one package."""


@dataclass(frozen=True, slots=True)
class Item:
    """A file of a task."""

    place: str
    """Its root's place among several roots; "" where there is one."""
    package: str
    path: str
    """Below the root."""

    def __str__(self) -> str:
        """PACKAGE//PATH, or PLACE/PACKAGE//PATH: no name has a slash, and a package has one between two names."""
        head = f"{self.place}/{self.package}" if self.place else self.package
        return f"{head}//{self.path}"

    @staticmethod
    def of(item: str) -> Item:
        head, _, path = item.partition("//")
        place, slash, package = head.partition("/")
        return Item(place, package, path) if slash else Item("", head, path)

    def file(self, roots: list[Path]) -> Path:
        return roots[int(self.place or 0)] / self.path

    @property
    def document_path(self) -> str:
        return f"{self.place}/{self.path}" if self.place else self.path


def fingerprint(source: StdlibSource | LocalSource) -> dict[str, str]:
    """The standard library is known by its interpreter, local roots by the names, packages, sizes and modification
    times of their files; where the roots lie does not matter."""
    if isinstance(source, StdlibSource):
        return {"python": platform.python_version(), "implementation": platform.python_implementation()}
    roots = _roots(source)
    if not all(root.is_dir() for root in roots):
        return {"listing": "missing"}
    return {"listing": _digest(roots, map(str, _items(roots, source)))}


def places(source: StdlibSource | LocalSource) -> dict[str, Path]:
    """The files that are there now, by ``Document.path``. Raises DataError when a root is not."""
    roots = [_there(root) for root in _roots(source)]
    return {item.document_path: item.file(roots) for item in _items(roots, source)}


def tasks(source: StdlibSource | LocalSource, name: str, limit: int | None, max_characters: int) -> list[Task]:
    """Files sorted by path, root by root. An item is an `Item`."""
    roots = _roots(source)
    found = _items([_there(root) for root in roots], source)
    if not found:
        where = ", ".join(map(str, roots))
        raise DataError(
            f"data.source.roots: no file below {where} ends in {', '.join(_suffixes(source))}",
            help="point data.source.roots to other directories, or change data.source.suffixes",
        )
    if isinstance(source, LocalSource):
        source = replace(source, roots=tuple(map(str, roots)))
    sizes = ((str(item), item.file(roots).stat().st_size) for item in found[:limit])
    return [
        Task(
            source=source,
            name=name,
            items=items,
            digest=_digest(roots, items),
            size=size,
            max_characters=max_characters,
        )
        for items, size in group(sizes)
    ]


def read(task: Task) -> Iterator[Document | Rejected]:
    """Files are UTF-8, with or without a byte order mark, which is dropped; line ends stay.

    Anything else is rejected: "encoding", "too_long", or "unreadable" where a file went away or may not be opened.
    With several roots a document's path starts with its root's place among them: two roots may hold the same path.
    """
    # Here and not above: `fingerprint` serves the planner, which does not load pyarrow.
    from albor.data.documents import Document

    source = task.source
    assert isinstance(source, StdlibSource | LocalSource)
    roots = [_here(root) for root in _roots(source)]
    licence, version = "PSF-2.0", platform.python_version()
    if isinstance(source, LocalSource):
        licence, version = source.licence, ""
    for item in map(Item.of, task.items):
        path = item.document_path
        try:
            text = _text(item.file(roots), LONGEST * task.max_characters)
            path.encode()
        except UnicodeError:
            yield Rejected(os.fsencode(path).decode(errors="replace"), "encoding")
        except (FileNotFoundError, PermissionError):
            # The file's own trouble, if its root is still there.
            for root in roots:
                _here(root)
            yield Rejected(path, "unreadable")
        else:
            if text is None:
                yield Rejected(path, "too_long")
            else:
                yield Document(text, task.name, item.package, version, path, licence, task.tier, task.copies)


STDLIB = LOCAL = Kind(fingerprint=fingerprint, fetch=no_fetch, tasks=tasks, read=read)


def _text(file: Path, most: int) -> str | None:
    """The content; None where it is longer than ``most`` bytes."""
    try:
        return file.read_bytes().decode("utf-8-sig") if file.stat().st_size <= most else None
    except (FileNotFoundError, PermissionError):
        raise
    except OSError as error:
        raise DataError(
            f"{file} cannot be read: {error.strerror}",
            help="see to the disk or the mount it lies on, then run the same command again",
        ) from error


def _items(roots: list[Path], source: StdlibSource | LocalSource) -> list[Item]:
    """Every file, root by root, sorted by path."""
    listings = [_listing(root, source) for root in roots]
    shared = Counter(chain.from_iterable({_first(path) for path in listing} for listing in listings))
    items = []
    for place, (root, label, listing) in enumerate(zip(roots, _labels(roots), listings, strict=True)):
        project = isinstance(source, LocalSource) and any((root / name).exists() for name in PROJECT)
        number = str(place) if len(roots) > 1 else ""
        for path in listing:
            first = _first(path)
            package = label if project else f"{label}/{first}" if shared[first] > 1 else first
            items.append(Item(number, package, path))
    return items


def _first(path: str) -> str:
    """The first directory, or the stem of a file that lies in none."""
    first, slash, _ = path.partition("/")
    return first if slash else Path(first).stem


def _labels(roots: list[Path]) -> list[str]:
    """What the roots are called: by their directories' names, and by their places too where two have the same."""
    known = [os.path.basename(os.path.normpath(root)) or "root" for root in roots]  # noqa: PTH119 - of "a/.." too
    names = [os.fsencode(name).decode(errors="replace") for name in known]
    return names if len({*names}) == len(names) else [f"{place}-{name}" for place, name in enumerate(names)]


def _roots(source: StdlibSource | LocalSource) -> list[Path]:
    if isinstance(source, LocalSource):
        return [expand(root) for root in source.roots]
    return [Path(sysconfig.get_path("stdlib"))]


def _there(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(
            f"data.source.roots: {root} is not a directory", help="name directories that exist on this machine"
        )
    return root


def _here(root: Path) -> Path:
    """For the process that reads, which may be on another machine than the one that planned."""
    if not root.is_dir():
        raise DataError(
            f"{root} is not on this machine ({platform.node()})",
            help="put it on a file system that all machines share, at the same path",
        )
    return root


def _suffixes(source: StdlibSource | LocalSource) -> tuple[str, ...]:
    return source.suffixes if isinstance(source, LocalSource) else (".py",)


def _digest(roots: list[Path], items: Iterable[str]) -> str:
    """Over names, sizes and modification times."""
    digest = hashlib.sha256()
    for item in items:
        status = Item.of(item).file(roots).stat()
        digest.update(b"%s\0%d\0%d\n" % (os.fsencode(item), status.st_size, status.st_mtime_ns))
    return digest.hexdigest()


def _listing(root: Path, source: StdlibSource | LocalSource) -> list[str]:
    """Paths below the root, with forward slashes, sorted; linked directories and links out of the root are left out."""
    skipped = skip if isinstance(source, LocalSource) else _not_stdlib
    home = root.resolve()
    found = []
    for directory, names, files in os.walk(root, onerror=_refuse):
        names[:] = [name for name in names if not skipped(name)]
        for name in files:
            path = Path(directory, name)
            if name.endswith(_suffixes(source)) and not skipped(name) and _inside(path, home):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)


def _inside(path: Path, home: Path) -> bool:
    """Whether this is a file of the root. Linked directories are not walked, so only a linked file can lead out."""
    return path.is_file() and (not path.is_symlink() or path.resolve().is_relative_to(home))


def _not_stdlib(name: str) -> bool:
    return skip(name) or name in NOT_STDLIB or name.startswith(BUILD_CONFIGURATION)


def _refuse(error: OSError) -> None:
    raise DataError(
        f"data.source.roots: {error.filename} cannot be listed: {error.strerror}",
        help="give yourself access to it, or name other directories",
    ) from error
