"""The artifact store: run directories below ``outputs/``, found by stage and id."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from albor.errors import AlborError, Held
from albor.runs.files import write_text
from albor.runs.manifest import NAME, Manifest, load

ARTIFACT = "artifact"
PARTIAL = f"{ARTIFACT}.partial"
"""An artifact that is being made."""
LOCK = ".lock"
"""Held by the process that works in a run directory; in it, that process's id."""
WORK = "work"
"""Finished parts of an artifact that is not whole yet."""


@dataclass(frozen=True)
class Run:
    """A run directory and what its manifest said when it was read."""

    directory: Path
    manifest: Manifest

    @property
    def artifact(self) -> Path:
        return self.directory / ARTIFACT

    def damage(self) -> str | None:
        """Why a finished run's artifact cannot be used: a file gone or of another size; None when it can.

        Sizes only, because a plan must be instant; a stage verifies the hashes of what it loads.
        """
        for name, ref in self.manifest.files.items():
            try:
                size = (self.artifact / name).stat().st_size
            except OSError:
                return f"{name} is missing"
            if size != ref.bytes:
                return f"{name} has {size:,} bytes instead of {ref.bytes:,}"
        return None


class Store:
    """Looks up runs; directories are listed once per stage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[str, dict[str, Path]] = {}

    def directory(self, stage: str, label: str, id: str) -> Path:  # noqa: A002
        """Where the run of this id lies, whatever its label was, or where it would lie."""
        return self._ids(stage).get(id) or self.root / stage / f"{label}-{id}"

    def _ids(self, stage: str) -> dict[str, Path]:
        if stage not in self._listed:
            try:
                entries = [e for e in os.scandir(self.root / stage) if e.is_dir() and "-" in e.name]
            except (FileNotFoundError, NotADirectoryError):
                entries = []
            self._listed[stage] = {e.name.rsplit("-", 1)[1]: Path(e.path) for e in entries}
        return self._listed[stage]

    def get(self, directory: Path) -> Run | None:
        """The run in ``directory``; None when there is none."""
        return Run(directory, load(directory)) if (directory / NAME).exists() else None

    def runs(self) -> list[Run]:
        """Every run, oldest first."""
        found = []
        for path in self.root.glob(f"*/*/{NAME}"):
            try:
                found.append(Run(path.parent, load(path.parent)))
            except AlborError as error:
                print(f"left out: {path.parent}: {error.cause}", file=sys.stderr)
        return sorted(found, key=lambda r: r.manifest.created)

    def find(self, name: str) -> Run:
        """A run by directory, by stage/label-id, by label-id, or by its id; of an id the beginning is enough. Raises
        AlborError."""
        given = Path(name)
        for path in (given, self.root / name, *([given.parent] if given.name == ARTIFACT else [])):
            if (path / NAME).exists():
                return Run(path, load(path))
        paths = sorted(p.parent for p in self.root.glob(f"*/*/{NAME}"))
        hits = [p for p in paths if p.name == name] or [p for p in paths if begins(p, name)]
        if len(hits) == 1:
            return Run(hits[0], load(hits[0]))
        if hits:
            listed = ", ".join(f"{p.parent.name}/{p.name}" for p in hits)
            raise AlborError(f"'{name}' names {len(hits)} runs: {listed}", "give more of the id", place=str(self.root))
        if given.is_dir():
            cause = f"{name} is no run: it holds no {NAME}"
            raise AlborError(cause, "give a run's directory, as outputs/pretrain/…, or its name", place=str(given))
        from albor.config.suggest import nearest

        guess = nearest(name, [p.name for p in paths])
        listed = "`albor runs` lists them"
        fix = f"did you mean {guess}? {listed}" if guess else f"{listed}; outputs=DIR names another store"
        what = "run or directory" if "/" in name else "run"
        raise AlborError(f"there is no {what} '{name}'", fix, place=str(self.root))


def begins(directory: Path, name: str) -> bool:
    """Whether a name is the beginning of a run's id, alone or behind its label, or its stage and label."""
    label, _, id_ = directory.name.rpartition("-")
    return any(
        name.startswith(head) and len(name) > len(head) and id_.startswith(name[len(head) :])
        for head in ("", f"{label}-", f"{directory.parent.name}/{label}-")
    )


def outputs_of(overrides: Sequence[str], *, there: bool = True) -> Path:
    """The store that ``outputs=DIR`` names, for verbs that compose nothing. Raises AlborError for other overrides, and
    for what is no directory, if it must be ``there``."""
    root = "outputs"
    for text in overrides:
        key, _, value = text.partition("=")
        if key != "outputs" or not value:
            fix = "only outputs=DIR does; `albor runs STAGE` lists one stage"
            raise AlborError(f"`{text}` does not concern the runs in the store", fix)
        root = value
    if there and overrides and not Path(root).is_dir():
        cause = f"{root} is a file, not a directory of runs" if Path(root).exists() else f"there is no directory {root}"
        raise AlborError(
            cause, "outputs=DIR names where runs are; without it they are in outputs", place=f"outputs={root}"
        )
    return Path(root)


def writable(root: Path) -> None:
    """Raises AlborError when runs cannot be written below ``root``."""
    place = root
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        with TemporaryDirectory(dir=place, prefix=".albor-"):  # who is allowed to may still not be able to: /proc
            pass
    except OSError as error:
        cause = f"{place} is not a writable directory: {error.strerror}"
        raise AlborError(cause, "choose another: outputs=DIR", place=str(root)) from None


def disk_error(error: OSError, place: Path, flag: str | None = None) -> AlborError:
    """An I/O failure as a message; exit code 1, because the config is not at fault. ``flag`` is what named the place,
    where that is not the store's."""
    named = str(place if flag else error.filename or place)
    wrapped = AlborError(f"cannot read or write: {error.strerror or error}", place=named)
    wrapped.exit_code = 1
    another = f"choose another place: {flag}" if flag else "choose another directory: outputs=DIR"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        wrapped.help = f"free some space, or {another}{'' if flag else '; finished work is kept'}"
    elif error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        wrapped.help = f"make it writable, or {another}"
    elif flag:
        wrapped.help = another
    return wrapped


@contextmanager
def written_to(place: Path, flag: str) -> Iterator[None]:
    """Raises AlborError when what a flag names (``--out FILE``) cannot be written."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, place, flag) from None


def write_out(path: Path, text: str, flag: str = "--out FILE") -> None:
    """A file that a flag names, its directories included. Raises AlborError."""
    with written_to(path, flag):
        if path.exists() and not path.is_file():  # a file would take the place of a device
            raise OSError(errno.EEXIST, "there is something that is no file", str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, text)


@contextmanager
def exclusive(directory: Path, what: str = "run") -> Iterator[None]:
    """Holds the run directory, or another that stands for ``what``; raises Held when another process holds it."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / LOCK).open("a+") as file:
        if not locked(file):
            raise held_error(directory, what)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def held_error(directory: Path, what: str = "run") -> Held:
    """Who holds a directory that was wanted."""
    holder = (directory / LOCK).read_text(encoding="utf-8").strip() or "unknown"
    cause = f"another process (pid {holder}) is working on this {what}"
    return Held(cause, "wait for it, or stop it", place=str(directory))


def locked(file: IO[str]) -> bool:
    """Locks a file for this process, if no other has; one that only looks (``held``) has it for an instant."""
    for wait in (0.01, 0.02, 0.04, None):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if wait is not None:
                time.sleep(wait)
    return False


def held(directory: Path) -> bool:
    """Whether another process holds the run directory."""
    try:
        with (directory / LOCK).open("r") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def holder(directory: Path) -> int | None:
    """The process that holds the run directory, or held it last; None when none ever did."""
    try:
        return int((directory / LOCK).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def lives(directory: Path, run: Manifest) -> bool | None:
    """Whether the process that holds the run is alive; None when it is, or was, on another machine."""
    pid = holder(directory)
    if pid is None or run.environment.get("host") != platform.node():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # alive, and somebody else's
    return True
