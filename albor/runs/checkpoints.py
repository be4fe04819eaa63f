"""Training checkpoints as directories of a run: their names, their files, the run they belong to. No tensors here."""

from __future__ import annotations

import re
from pathlib import Path

from albor.errors import AlborError
from albor.runs import manifest
from albor.runs.manifest import Manifest
from albor.runs.store import Run

DIRECTORY = "checkpoints"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
RUN = "run.yaml"
"""The manifest of the run, as it was when the checkpoint was written."""
INDEX = "checkpoint.json"
REPLACED = ".replaced"
"""Ending of a checkpoint that another of the same step is about to take the place of."""
WRITING, REMOVING = ".writing-", ".removing-"
"""How the name of a checkpoint begins that is being written or removed."""
STEP = re.compile(rf"step-(\d+)({re.escape(REPLACED)})?")


def step_directory(directory: Path, step: int) -> Path:
    return directory / f"step-{step:08d}"


def step_of(path: Path) -> int | None:
    """The step that a checkpoint's directory is named after; None for another name."""
    matched = STEP.fullmatch(path.name)
    return int(matched[1]) if matched else None


def steps(directory: Path) -> list[Path]:
    """The checkpoints in ``directory``, newest first, damaged ones included; empty when it does not exist."""
    return [path for _, path in numbered(directory)]


def numbered(directory: Path) -> list[tuple[int, Path]]:
    """``steps`` with their numbers."""
    found = [(step, path) for path in directory.glob("step-*") if (step := step_of(path)) is not None and path.is_dir()]
    return sorted(found, key=lambda entry: (-entry[0], entry[1].name))


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a training checkpoint, damaged ones included."""
    return (path / INDEX).is_file() or (path.is_dir() and step_of(path) is not None)


def run_around(path: Path) -> Run | None:
    """The run that a checkpoint lies in; None when it was copied out of it."""
    directory = path.resolve().parents[1]
    return Run(directory, manifest.load(directory)) if (directory / manifest.NAME).exists() else None


def run_of(path: Path) -> Manifest:
    """The manifest of the run that wrote a checkpoint, from the checkpoint itself. Raises AlborError."""
    if not (path / RUN).exists():
        raise AlborError(f"it holds no {RUN}", "give a checkpoint that `stage=pretrain` wrote", place=str(path))
    return manifest.read(path / RUN)
