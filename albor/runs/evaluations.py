"""Evaluations of a training run's checkpoints: a file of their own beside its metrics, because they may be written from
another machine, and two that append to one file on a network file system lose lines."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

NAME = "evaluations.jsonl"
BEST = "best"
"""Directory of the best checkpoint so far."""
HELD = ".watched"
"""Directory of checkpoints that are being evaluated: the training may remove its own meanwhile."""

ABOUT = ("time", "checkpoint", "run")
"""Keys of an entry that are no metrics."""


def read(directory: Path) -> list[dict[str, Any]]:
    """What was found so far, oldest first; a torn last line is passed over."""
    path = directory / NAME
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def add(directory: Path, step: int, run: str, metrics: Mapping[str, float]) -> None:
    """Appends one evaluation: the checkpoint's step, the evaluation's run, and its numbers."""
    torn = (directory / NAME).exists() and not (directory / NAME).read_bytes().endswith(b"\n")
    with (directory / NAME).open("a", encoding="utf-8") as file:
        entry = {"time": round(time.time(), 3), "checkpoint": step, "run": run, **metrics}
        file.write(("\n" if torn else "") + json.dumps(entry) + "\n")


def hold(directory: Path, checkpoint: Path) -> Path:
    """The checkpoint under a name that nobody else removes; its files are linked, or copied where they cannot be."""
    return _mirror(checkpoint, directory / HELD / checkpoint.name)


def keep_best(directory: Path, checkpoint: Path) -> None:
    """Puts the checkpoint in the place of the best one, which is whole at every moment but between two renames."""
    fresh, best, old = directory / f".{BEST}.new", directory / BEST, directory / f".{BEST}.old"
    _mirror(checkpoint, fresh)
    shutil.rmtree(old, ignore_errors=True)
    if best.exists():
        best.rename(old)
    fresh.rename(best)
    shutil.rmtree(old, ignore_errors=True)


def release(held: Path) -> None:
    shutil.rmtree(held, ignore_errors=True)
    with suppress(OSError):  # another one is still held
        held.parent.rmdir()


def _mirror(source: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(source, to, copy_function=_link)
    return to


def _link(source: str, to: str) -> None:
    try:
        os.link(source, to)
    except OSError:
        shutil.copy2(source, to)
