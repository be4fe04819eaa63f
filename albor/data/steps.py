"""A step of the pipeline: a function from one task to one directory of files, run for many tasks and kept when whole.

What a task makes lies in a directory named by SHA-256(step, version, settings, task). It is written beside, flushed and
renamed, its manifest last, so that whatever kills the process a directory that exists is whole: the same command
takes it as it is and makes the rest. Nothing that differs from one run to the next (times, paths, processes) is in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from albor.runs.files import fsync_directory, sha256_file, write_text

MANIFEST = "manifest.json"
MAKING = ".making."
ABANDONED = 600.0
"""Seconds without a write after which a directory that is being made is taken for a killed task's."""
Task = TypeVar("Task")


class Mapper(Protocol):
    """Where tasks run; see ``albor.executors``."""

    def map(self, function: Callable[[Any], Any], tasks: Sequence[Any], done: Callable[[int, Any], None]) -> list[Any]:
        """The results in the order of the tasks; ``done(index, result)`` as each ends. A failing task raises."""
        ...


@dataclass(frozen=True, kw_only=True)
class Step(Generic[Task]):
    """One step's work."""

    name: str
    version: int
    """Raised when the same settings and task would give other files."""
    settings: Mapping[str, Any]
    """What determines the result besides the task: plain data."""
    identity: Callable[[Task], Any]
    """A task as plain data; its content by digest, never by place."""
    run: Callable[[Task, Path], tuple[dict[str, Any], dict[str, float]]]
    """Writes files into the directory. Returns facts, which the manifest keeps, and seconds by kind of work."""

    def key(self, task: Task) -> str:
        parts = {"step": self.name, "version": self.version, "settings": self.settings, "task": self.identity(task)}
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Output:
    """What one task made."""

    path: Path
    facts: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    """File name to {"sha256", "bytes"}."""
    seconds: Mapping[str, float]
    """Time by kind of work; empty when it was there already."""

    @property
    def digest(self) -> str:
        """Changes when any file does."""
        return hashlib.sha256(json.dumps(self.files, sort_keys=True).encode()).hexdigest()


def perform(
    step: Step[Task],
    tasks: Sequence[Task],
    *,
    directory: Path,
    executor: Mapper,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Output]:
    """The outputs of ``tasks`` in their order, below ``directory/step.name``; what other tasks left there goes."""
    home = directory / step.name
    home.mkdir(parents=True, exist_ok=True)
    targets = [home / step.key(task)[:32] for task in tasks]
    wanted = {target.name for target in targets}
    for entry in home.iterdir():
        if entry.name not in wanted and not _being_made(entry):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    # Equal tasks have equal keys: they are made once.
    unique = dict(zip(targets, tasks, strict=True))
    made = {target: known for target in unique if (known := _finished(target)) is not None}
    missing = [(target, task) for target, task in unique.items() if target not in made]
    progress(len(made), len(unique))
    ended = 0

    def done(index: int, output: Output) -> None:
        nonlocal ended
        ended += 1
        progress(len(made) + ended, len(unique))

    fresh = executor.map(partial(_make, step.run), missing, done)
    for (target, _), output in zip(missing, fresh, strict=True):
        made[target] = output
    return [made[target] for target in targets]


def _being_made(entry: Path) -> bool:
    """Whether a job of an earlier attempt, which a cluster still runs, may be writing there."""
    if not entry.name.startswith(MAKING):
        return False
    try:
        newest = max(path.stat().st_mtime for path in (entry, *entry.iterdir()))
    except FileNotFoundError:
        return True  # it has just been renamed
    return time.time() - newest < ABANDONED


def _finished(target: Path) -> Output | None:
    """The output that lies in ``target``; None when there is none, or a file of it is missing or cut."""
    try:
        manifest = json.loads((target / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
    files = manifest["files"]
    whole = all((target / n).is_file() and (target / n).stat().st_size == f["bytes"] for n, f in files.items())
    return Output(target, manifest["facts"], files, {}) if whole else None


def _make(run: Callable[[Any, Path], tuple[dict[str, Any], dict[str, float]]], job: tuple[Path, Any]) -> Output:
    target, task = job
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=MAKING))
    try:
        facts, seconds = run(task, temporary)
        start = time.perf_counter()
        names = sorted(path.name for path in temporary.iterdir())
        files = {n: {"sha256": sha256_file(temporary / n), "bytes": (temporary / n).stat().st_size} for n in names}
        for name in names:
            _flush(temporary / name)
        write_text(temporary / MANIFEST, json.dumps({"facts": facts, "files": files}, sort_keys=True))
        if _finished(target) is None:
            shutil.rmtree(target, ignore_errors=True)
            try:
                temporary.replace(target)
            except OSError:
                # A job of an earlier attempt, which a cluster still runs, may have put the same there just now.
                if _finished(target) is None:
                    raise
        fsync_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Output(target, facts, files, seconds | {"hash and flush": time.perf_counter() - start})


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
