"""Where documents come from. A source is read in one stable order; what cannot be text is rejected and counted."""

from __future__ import annotations

import os
import platform
import sysconfig
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from albor.config.schema.data import LocalSource, StdlibSource
from albor.data.errors import DataError
from albor.runs.files import listing_digest

if TYPE_CHECKING:
    from albor.data.documents import Document

NOT_SOURCE = frozenset({"__pycache__", "node_modules", "venv"})
"""Directories that hold other people's or generated files, wherever they stand; so does every dot-directory."""
NOT_STDLIB = frozenset({"site-packages", "dist-packages", "lib-dynload", "test", "tests", "idle_test"})
"""Directories under the standard library that are installed packages, binaries or its own tests."""
BUILD_CONFIGURATION = ("config-", "_sysconfigdata")
"""Names that start so hold one machine's build settings: the corpus would differ between two equal Pythons."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that did not become a document."""

    path: str
    reason: str


def read(source: StdlibSource | LocalSource) -> Iterator[Document | Rejected]:
    """Every Python file of the source, sorted by path (for several roots, root by root).

    Files are UTF-8, with or without a byte order mark, which is dropped; line ends stay. Anything else is rejected
    as "encoding", and a file that cannot be opened as "unreadable".

    Raises:
        DataError: a root of a local source is not a directory.
    """
    # Here and not above: `fingerprint` serves the planner, which does not load pyarrow.
    from albor.data.documents import Document

    for root in _roots(source):
        if not root.is_dir():
            raise DataError(
                f"data.source.roots: {root} is not a directory", help="name directories that exist on this machine"
            )
        for path in _python_files(root, _skip(source)):
            try:
                text = (root / path).read_bytes().decode("utf-8-sig")
                path.encode()
            except UnicodeError:
                yield Rejected(os.fsencode(path).decode(errors="replace"), "encoding")
            except OSError:
                yield Rejected(path, "unreadable")
            else:
                licence = source.licence if isinstance(source, LocalSource) else "PSF-2.0"
                yield Document(text, source.kind, path.split("/")[0].removesuffix(".py"), path, licence)


def fingerprint(source: StdlibSource | LocalSource) -> dict[str, str]:
    """What tells one content of the source from another, without opening a file.

    The standard library is known by its interpreter, local roots by the names, sizes and modification times of
    their files; where the roots lie does not matter, and a missing root gives ``{"listing": "missing"}``.
    """
    if isinstance(source, StdlibSource):
        return {"python": platform.python_version(), "implementation": platform.python_implementation()}
    roots = _roots(source)
    if not all(root.is_dir() for root in roots):
        return {"listing": "missing"}
    return {"listing": "-".join(listing_digest(root, _python_files(root, _skip(source))) for root in roots)}


def _roots(source: StdlibSource | LocalSource) -> list[Path]:
    if isinstance(source, LocalSource):
        return [Path(root).expanduser() for root in source.roots]
    return [Path(sysconfig.get_path("stdlib"))]


def _skip(source: StdlibSource | LocalSource) -> Callable[[str], bool]:
    local = isinstance(source, LocalSource)

    def skip(name: str) -> bool:
        if name in NOT_SOURCE or name.startswith("."):
            return True
        return not local and (name in NOT_STDLIB or name.startswith(BUILD_CONFIGURATION))

    return skip


def _python_files(root: Path, skip: Callable[[str], bool]) -> list[str]:
    """Paths below the root, with forward slashes, sorted; linked directories and links out of the root are left out."""
    home = root.resolve()
    found = []
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if not skip(name)]
        for name in files:
            path = Path(directory, name)
            if name.endswith(".py") and not skip(name) and path.is_file() and path.resolve().is_relative_to(home):
                found.append(path.relative_to(root).as_posix())
    return sorted(found)
