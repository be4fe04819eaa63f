"""Reading checkpoints: every byte is hashed while it is read."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path

import torch
from torch import Tensor

from albor.runs.checkpoints import MODEL, OPTIMIZER, STATE, steps
from albor.runs.manifest import FileRef
from albor.training.checkpoint.format import Checkpoint, Damaged, check_size, read_index
from albor.training.checkpoint.tensors import views
from albor.training.errors import TrainingError

CHUNK = 8 << 20
logger = logging.getLogger(__name__)


def load_latest(directory: Path) -> Checkpoint | None:
    """The newest intact checkpoint; None when there is none at all.

    A damaged one is named in a warning and passed over. Raises TrainingError when every checkpoint is
    damaged: starting anew is for the user to decide.
    """
    damaged = []
    for path in steps(directory):
        try:
            return load(path)
        except Damaged as error:
            logger.warning("checkpoint %s is damaged, passed over: %s", path, error.damage)
            damaged.append(f"{path.name}: {error.damage}")
    if damaged:
        raise TrainingError(
            f"no checkpoint in {directory} is intact ({'; '.join(damaged)})",
            help=f"check the disk; to start from step 0, remove {directory}",
        )
    return None


def load(path: Path) -> Checkpoint:
    """The checkpoint in the directory ``path``; the tensors of a file share memory. Raises Damaged, a TrainingError."""
    step, files = read_index(path)
    contents = {name: read_verified(path, name, ref) for name, ref in files.items()}
    missing = {MODEL, OPTIMIZER, STATE} - files.keys()
    if missing:
        raise Damaged(path, f"it was written without {', '.join(sorted(missing))}")
    state = json.loads(contents[STATE].numpy().tobytes())
    if state["step"] != step:
        raise Damaged(path, f"{STATE} is of step {state['step']}, not {step}")
    return Checkpoint(views(contents[MODEL]), views(contents[OPTIMIZER]), state, path)


def read_verified(path: Path, name: str, ref: FileRef) -> Tensor:
    """The bytes (uint8) of a checkpoint's file. Raises Damaged when they are not those that were written."""
    check_size(path, name, ref)
    content = torch.empty(ref.bytes, dtype=torch.uint8)
    whole, digest, at = content.numpy().data, hashlib.sha256(), 0
    try:
        with (path / name).open("rb", buffering=0) as file:
            while at < ref.bytes and (count := file.readinto(whole[at : at + CHUNK])):
                digest.update(whole[at : at + count])
                at += count
    except OSError as error:
        raise Damaged(path, f"{name}: {error.strerror}") from None
    if digest.hexdigest() != ref.sha256:
        raise Damaged(path, f"{name} differs from its hash")
    return content
