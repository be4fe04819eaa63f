"""Training checkpoints: ``step-00000200/`` with the weights, the moments and everything else that resuming needs.

Written whole or not at all: a sibling directory, every file fsynced, renamed, the parent fsynced. The two newest are
kept, so that a damaged one leaves one to fall back to.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from albor.runs.files import fsync_directory, sha256_file
from albor.training.errors import TrainingError

KEPT = 2
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
TEMPORARY = ".writing-"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]
    """JSON values; ``step`` is the last step done."""


def save(directory: Path, checkpoint: Checkpoint) -> Path:
    """Writes ``checkpoint`` under ``directory`` and removes all but the newest two.

    Raises TrainingError, and writes nothing, when a tensor is not finite; OSError when the disk refuses.
    """
    _refuse_non_finite({**checkpoint.model, **checkpoint.optimizer})
    directory.mkdir(parents=True, exist_ok=True)
    for leftover in directory.glob(f"{TEMPORARY}*"):
        shutil.rmtree(leftover)
    target = directory / f"step-{checkpoint.state['step']:08d}"
    temporary = directory / f"{TEMPORARY}{target.name}"
    temporary.mkdir()
    try:
        _write_files(temporary, checkpoint)
        if target.exists():  # resumed from an older one: this step's checkpoint was damaged
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    fsync_directory(directory)
    for old in _newest_first(directory)[KEPT:]:
        shutil.rmtree(old)
    return target


def load_latest(directory: Path) -> Checkpoint | None:
    """The newest intact checkpoint; None when there is none at all.

    A damaged one is named in a warning and passed over. Raises TrainingError when every checkpoint is
    damaged: starting anew is for the user to decide.
    """
    damaged = []
    for path in _newest_first(directory):
        try:
            return _load(path)
        except (_DamagedError, OSError, SafetensorError) as error:
            logger.warning("checkpoint %s is damaged, passed over: %s", path, error)
            damaged.append(f"{path.name}: {error}")
    if damaged:
        raise TrainingError(
            f"no checkpoint in {directory} is intact ({'; '.join(damaged)})",
            help=f"check the disk; to start from step 0, remove {directory}",
        )
    return None


class _DamagedError(Exception):
    pass


def _refuse_non_finite(tensors: Mapping[str, Tensor]) -> None:
    finite = [tensor.isfinite().all() for tensor in tensors.values()]
    if finite and not torch.stack([flag.cpu() for flag in finite]).all():
        name = next(name for name, flag in zip(tensors, finite, strict=True) if not flag)
        raise TrainingError(
            f"{name} is not finite, so no checkpoint was written",
            help="resume from the previous checkpoint with a lower optim.lr",
        )


def _write_files(directory: Path, checkpoint: Checkpoint) -> None:
    for name, tensors in ((MODEL, checkpoint.model), (OPTIMIZER, checkpoint.optimizer)):
        save_file({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}, directory / name)
    files = {name: {"size": (directory / name).stat().st_size, "sha256": sha256_file(directory / name)}
             for name in (MODEL, OPTIMIZER)}  # fmt: skip
    state = {**checkpoint.state, "files": files}
    text = json.dumps({"sha256": _digest(state), "state": state})
    (directory / STATE).write_text(text, encoding="utf-8")
    for name in (MODEL, OPTIMIZER, STATE):
        with (directory / name).open("rb") as file:
            os.fsync(file.fileno())
    fsync_directory(directory)


def _load(path: Path) -> Checkpoint:
    try:
        content = json.loads((path / STATE).read_text(encoding="utf-8"))
        state, digest = content["state"], content["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise _DamagedError(f"{STATE} cannot be read") from error
    if _digest(state) != digest:
        raise _DamagedError(f"{STATE} differs from its hash")
    for name, expected in state["files"].items():
        size = (path / name).stat().st_size
        if size != expected["size"]:
            raise _DamagedError(f"{name} has {size} bytes, {expected['size']} were written")
        if sha256_file(path / name) != expected["sha256"]:
            raise _DamagedError(f"{name} differs from its hash")
    return Checkpoint(load_file(path / MODEL), load_file(path / OPTIMIZER), state)


def _digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _newest_first(directory: Path) -> list[Path]:
    return sorted((path for path in directory.glob("step-*") if path.is_dir()), reverse=True)
