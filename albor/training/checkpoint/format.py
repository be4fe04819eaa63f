"""A checkpoint's files, and the index that says what their bytes were.

``checkpoints/step-00000200/`` is a model directory (``model.safetensors``, ``config.json``, the tokenizer's files).
Besides, it holds the optimizer's state, the rest of the training state as JSON, the run's manifest, and
``checkpoint.json``: SHA-256 and size of every other file, and a hash of itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from albor.runs.checkpoints import INDEX
from albor.runs.manifest import FileRef
from albor.training.errors import TrainingError

SCHEMA = 1


@dataclass(frozen=True)
class Checkpoint:
    model: Mapping[str, Tensor]
    optimizer: Mapping[str, Tensor]
    state: Mapping[str, Any]
    """JSON values; ``step`` is the last step done."""
    directory: Path | None
    """Where it was read from."""


class Damaged(TrainingError):
    """A checkpoint whose bytes are not those that were written."""

    def __init__(self, path: Path, cause: str) -> None:
        super().__init__(f"the checkpoint {path} is damaged: {cause}", help="use another checkpoint; check the disk")
        self.damage = cause


def index_text(step: int, files: Mapping[str, FileRef]) -> bytes:
    """The content of checkpoint.json."""
    content = {"schema": SCHEMA, "step": step, "files": {name: vars(ref) for name, ref in files.items()}}
    own = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return json.dumps({**content, "sha256": own}, indent=1).encode() + b"\n"


def read_index(path: Path) -> tuple[int, dict[str, FileRef]]:
    """The step and the files of the checkpoint ``path``. Raises Damaged."""
    try:
        raw = (path / INDEX).read_bytes()
        content = json.loads(raw)
        step, files = content["step"], {name: FileRef(**ref) for name, ref in content["files"].items()}
    except OSError as error:
        raise Damaged(path, f"{INDEX}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Damaged(path, f"{INDEX} cannot be read") from None
    if content.get("schema") != SCHEMA:
        raise Damaged(path, f"{INDEX} is of schema {content.get('schema')}; this albor reads {SCHEMA}")
    # Its text follows from its content, so one comparison finds a change of any byte.
    if raw != index_text(step, files):
        raise Damaged(path, f"{INDEX} differs from its hash")
    return step, files


def check_sizes(path: Path) -> None:
    """Raises Damaged when a file is missing or of another size. Reads no data: what to keep is decided by it."""
    _, files = read_index(path)
    for name, ref in files.items():
        check_size(path, name, ref)


def check_size(path: Path, name: str, ref: FileRef) -> None:
    try:
        size = (path / name).stat().st_size
    except OSError as error:
        raise Damaged(path, f"{name}: {error.strerror}") from None
    if size != ref.bytes:
        raise Damaged(path, f"{name} has {size:,} bytes, {ref.bytes:,} were written")
