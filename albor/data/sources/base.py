"""What a source is to the pipeline: a fingerprint, a list of tasks, and the documents of each task."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from albor.config.schema.sources import Leaf
from albor.data.errors import DataError

if TYPE_CHECKING:
    from albor.data.documents import Document

TASK_BYTES = 8 << 20
"""Source bytes that a task aims at: a few seconds of work."""

PLACES = frozenset({"roots", "paths", "packages", "cache"})
"""Fields of sources that say where to find what the items and the digest tell."""
Progress = Callable[[float, float, str], None]
"""(done, total or 0, what is counted)."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """Something of the source that did not become a document."""

    path: str
    reason: str
    """A short stable name: it is counted in the corpus's manifest."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A part of a source that one process reads alone: picklable, and the same wherever it is planned."""

    source: Leaf
    """With absolute paths: the process that reads may have another working directory."""
    name: str
    """The source's kind, or its name in a mix: ``Document.source``."""
    items: tuple[str, ...]
    """What to read, in this order; what an item says is the source's own affair."""
    digest: str
    """Tells one content of the items from another."""
    size: int
    """Source bytes, as far as they are known; 0 where not."""
    max_characters: int
    """A document that must be longer than this is rejected as "too_long" without being held in memory."""
    limit: int | None = None
    """Read at most so many documents."""
    tier: int = 0
    copies: int = 1

    def identity(self) -> dict[str, Any]:
        """What determines the documents, as JSON has it; where the source lies does not."""
        settings = {key: value for key, value in asdict(self.source).items() if key not in PLACES}
        return {
            "source": {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()},
            "name": self.name,
            "items": list(self.items),
            "digest": self.digest,
            "max_characters": self.max_characters,
            "limit": self.limit,
            "tier": self.tier,
            "copies": self.copies,
        }


@dataclass(frozen=True, kw_only=True)
class Kind:
    """How one kind of source is read. Every function takes a config of that kind."""

    fingerprint: Callable[..., dict[str, str]]
    """(source) -> what tells one content of the source from another, besides its config: cheap, and light to import
    (the planner calls it). A source that is not there gives {"listing": "missing"}."""
    fetch: Callable[..., None]
    """(source, progress) -> None. Brings what must be local before tasks can be planned; does nothing the second time.

    Raises DataError when it cannot."""
    tasks: Callable[..., list[Task]]
    """(source, name, limit, max_characters) -> tasks in the source's order, of about TASK_BYTES each. ``limit`` is
    the number of documents wanted, or None.

    Raises DataError when the source is not there or cannot be used."""
    read: Callable[[Task], Iterator[Document | Rejected]]
    """The documents of a task, streamed: memory does not grow with the task.

    Raises DataError when the source is damaged."""


def no_fetch(source: Leaf, progress: Progress) -> None:
    """For sources that are here already."""


def expand(path: str) -> Path:
    """The absolute path, with ~ for a home directory.

    Raises:
        DataError: it begins with the ~ of a user who is not known.
    """
    try:
        return Path(path).expanduser().absolute()
    except RuntimeError as error:
        raise DataError(
            f"{path} begins with a home directory that is not known on this machine",
            help="write the directory out from /, or as ~/… below your own",
        ) from error
