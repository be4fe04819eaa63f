"""Files in directories: the running interpreter's standard library, and local roots."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from albor.config.schema.sources import LocalSource, StdlibSource
from albor.data.errors import DataError
from albor.data.sources.base import Kind, Rejected, Task, expand, no_fetch
from albor.data.sources.grouping import group
from albor.data.sources.rules import LONGEST, skip
from albor.runs.files import listing_digest

if TYPE_CHECKING:
    from albor.data.documents import Document

NOT_STDLIB = frozenset({"site-packages", "dist-packages", "lib-dynload", "test", "tests", "idle_test"})
"""Directories under the standard library that are installed packages, binaries or its own tests."""
BUILD_CONFIGURATION = ("config-", "_sysconfigdata")
"""Names that start so hold one machine's build settings: the corpus would differ between two equal Pythons."""


def fingerprint(source: StdlibSource | LocalSource) -> dict[str, str]:
    """The standard library is known by its interpreter, local roots by the names, sizes and modification times of
    their files; where the roots lie does not matter."""
    if isinstance(source, StdlibSource):
        return {"python": platform.python_version(), "implementation": platform.python_implementation()}
    roots = _roots(source)
    if not all(root.is_dir() for root in roots):
        return {"listing": "missing"}
    return {"listing": "-".join(listing_digest(root, _listing(root, source)) for root in roots)}


def tasks(source: StdlibSource | LocalSource, name: str, limit: int | None, max_characters: int) -> list[Task]:
    """Files sorted by path, root by root. An item is ROOT/PATH: the root's place among the roots, the path below it."""
    roots = _roots(source)
    found = [f"{place}/{path}" for place, root in enumerate(roots) for path in _listing(_there(root), source)]
    if not found:
        where = ", ".join(map(str, roots))
        raise DataError(
            f"data.source.roots: no file below {where} ends in {', '.join(_suffixes(source))}",
            help="point data.source.roots to other directories, or change data.source.suffixes",
        )
    sizes = ((item, _file(roots, item).stat().st_size) for item in found[:limit])
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

    Anything else is rejected: "encoding", "too_long", or "unreadable" where the file cannot be opened. With several
    roots a document's path starts with its root's place among them: two roots may hold the same path.
    """
    # Here and not above: `fingerprint` serves the planner, which does not load pyarrow.
    from albor.data.documents import Document

    source = task.source
    assert isinstance(source, StdlibSource | LocalSource)
    roots = _roots(source)
    licence, version = "PSF-2.0", platform.python_version()
    if isinstance(source, LocalSource):
        licence, version = source.licence, ""
    for item in task.items:
        below = item.partition("/")[2]
        path = item if len(roots) > 1 else below
        try:
            path.encode()
            file = _file(roots, item)
            if file.stat().st_size > LONGEST * task.max_characters:
                yield Rejected(path, "too_long")
                continue
            text = file.read_bytes().decode("utf-8-sig")
        except UnicodeError:
            yield Rejected(os.fsencode(path).decode(errors="replace"), "encoding")
        except OSError:
            yield Rejected(path, "unreadable")
        else:
            yield Document(text, task.name, _package(below), version, path, licence, task.tier, task.copies)


STDLIB = LOCAL = Kind(fingerprint=fingerprint, fetch=no_fetch, tasks=tasks, read=read)


def _package(path: str) -> str:
    """The first directory, or the stem of a file that lies in none."""
    first, slash, _ = path.partition("/")
    return first if slash else Path(first).stem


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


def _file(roots: list[Path], item: str) -> Path:
    place, _, path = item.partition("/")
    return roots[int(place)] / path


def _suffixes(source: StdlibSource | LocalSource) -> tuple[str, ...]:
    return source.suffixes if isinstance(source, LocalSource) else (".py",)


def _digest(roots: list[Path], items: tuple[str, ...]) -> str:
    by_root = groupby((item.partition("/") for item in items), key=lambda item: item[0])
    return "-".join(listing_digest(roots[int(place)], [path for _, _, path in paths]) for place, paths in by_root)


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
