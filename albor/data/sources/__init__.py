"""Where documents come from. A source is read in one stable order; what cannot be text is rejected and counted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from albor.config.schema.sources import MixSource, Source
from albor.data.sources import files, hub, pypi, python_files
from albor.data.sources.base import Kind, Progress, Rejected, Task

if TYPE_CHECKING:
    from albor.data.documents import Document

__all__ = ["Progress", "Rejected", "Task", "fetch", "fingerprint", "read", "tasks"]

KINDS: dict[str, Kind] = {
    "stdlib": python_files.STDLIB,
    "local": python_files.LOCAL,
    "pypi": pypi.KIND,
    "files": files.KIND,
    "hub": hub.KIND,
}
"""Every kind of source but the mix, which is made of them. The modules load nothing heavy by themselves."""


def fingerprint(source: Source) -> dict[str, str]:
    """What tells one content of the source from another, besides its config; no network, nothing heavy to import.

    A source that is not there gives ``{"listing": "missing"}``; the keys of a mix start with the part's name.
    """
    if isinstance(source, MixSource):
        return {
            f"{name}.{key}": value
            for name, part in source.parts.items()
            for key, value in fingerprint(part.source).items()
        }
    return KINDS[source.kind].fingerprint(source)


def fetch(source: Source, progress: Progress) -> None:
    """Bring what must be local before tasks can be planned; the second time there is nothing to do.

    Raises:
        DataError: it cannot be had.
    """
    if isinstance(source, MixSource):
        for part in source.parts.values():
            fetch(part.source, progress)
    else:
        KINDS[source.kind].fetch(source, progress)


def tasks(source: Source, *, limit: int | None, max_characters: int) -> list[Task]:
    """The source cut into parts that one process reads alone, in the source's order.

    At most ``limit`` documents will be read, those rejected included. The parts of a mix share the limit evenly, so
    that a small mix is still a mix.

    Raises:
        DataError: the source is not there, is empty, or cannot be used.
    """
    if not isinstance(source, MixSource):
        return KINDS[source.kind].tasks(source, source.kind, limit, max_characters)
    shares = _shares(limit, len(source.parts))
    return [
        replace(task, tier=tier, copies=part.copies)
        for tier, (name, part) in enumerate(source.parts.items())
        if shares[tier] != 0
        for task in KINDS[part.source.kind].tasks(part.source, name, shares[tier], max_characters)
    ]


def read(task: Task) -> Iterator[Document | Rejected]:
    """The documents of a task, and what did not become one, streamed.

    Raises:
        DataError: the source is damaged.
    """
    return KINDS[task.source.kind].read(task)


def _shares(limit: int | None, parts: int) -> list[int | None]:
    """``limit`` split as evenly as whole numbers go; the parts named first get what is left over."""
    if limit is None:
        return [None] * parts
    return [limit // parts + (place < limit % parts) for place in range(parts)]
