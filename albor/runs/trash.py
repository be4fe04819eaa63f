"""Freeing parts of a store so that a process killed on the way leaves nothing half: renamed first, deleted after."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from uuid import uuid4

from albor.errors import AlborError
from albor.runs.files import fsync_directory
from albor.runs.manifest import Manifest, load
from albor.runs.store import exclusive

TRASH = ".trash"
FREED = "freed"
"""In it, what was freed: deeper than runs lie, so that none is taken for one."""


@dataclass(frozen=True)
class Item:
    """Something to free."""

    path: Path
    bytes: int
    why: str
    run: Path | None
    """The run directory that it is, or lies in; None of what belongs to no run."""
    manifest: Manifest | None = None
    """Of a whole run, what it said when it was looked at."""


Outcome = Literal["freed", "gone", "held", "changed"]
"""gone: another gc was faster; held: a process has the run; changed: it was taken up again."""


def free(root: Path, items: Sequence[Item], progress: Callable[[int, int], None]) -> list[tuple[Item, Outcome]]:
    """Frees what was decided on. Everything is renamed first, which takes moments, and deleted after that.

    Raises AlborError when another gc is at work in this store, OSError when something cannot be renamed or deleted.
    """
    outcomes: list[tuple[Item, Outcome]] = []
    doomed: list[Path] = []
    with exclusive(root / TRASH, "store"):
        for item in items:
            outcome, place = discard(root, item)
            outcomes.append((item, outcome))
            doomed += [place] if place else []
        for number, path in enumerate(doomed, 1):
            delete(path)
            progress(number, len(doomed))
    return outcomes


def discard(root: Path, item: Item) -> tuple[Outcome, Path | None]:
    """Takes something out of the store by one rename, if it is still what it was; gives where it lies then."""
    if not item.path.exists() and not item.path.is_symlink():
        return "gone", None
    if item.path.parent.name == FREED and item.path.parent.parent.name == TRASH:
        return "freed", item.path
    trash = trash_of(root, item.path) / FREED
    trash.mkdir(parents=True, exist_ok=True)
    target = trash / f"{item.path.parent.name}.{item.path.name}.{uuid4().hex[:8]}"
    if item.run is None:
        item.path.rename(target)
        return "freed", target
    try:
        with exclusive(item.run):
            if item.manifest is not None and manifest_of(item.run) != item.manifest:
                return "changed", None
            item.path.rename(target)
    except AlborError:
        return "held", None
    fsync_directory(item.path.parent)
    return "freed", target


def manifest_of(directory: Path) -> Manifest | None:
    try:
        return load(directory)
    except AlborError:
        return None


def trash_of(root: Path, path: Path) -> Path:
    """Where something of a store is renamed to: in the store, or where a stage's directory is a link, beside what it
    leads to, because a rename does not leave its file system."""
    if path.parent.resolve().is_relative_to(root.resolve()):
        return root / TRASH
    return (root / path.relative_to(root).parts[0]).resolve().parent / TRASH


def trashes(root: Path) -> set[Path]:
    """Every directory that ``trash_of`` may name."""
    return {trash_of(root, path / "x") for path in root.iterdir() if path.is_dir()} if root.is_dir() else set()


def delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
