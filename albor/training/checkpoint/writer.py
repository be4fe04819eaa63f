"""Writing checkpoints beside the training: training waits for a copy in host memory, a thread hashes and writes it.

Written whole or not at all: into a sibling directory that is renamed when every file, and it itself, is on disk.
Everything happens in the directory of the checkpoints, so nothing is ever moved from one file system to another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from albor.runs.checkpoints import INDEX, MODEL, OPTIMIZER, STATE, WRITING, step_directory
from albor.runs.files import fsync_directory
from albor.runs.manifest import FileRef
from albor.training.checkpoint import retention
from albor.training.checkpoint.format import index_text
from albor.training.checkpoint.tensors import copy_into, lay_out
from albor.training.errors import TrainingError

CHUNK = 16 << 20
"""Bytes hashed and written at a time: they are still in the cache for the second of the two."""
FLUSHED = 8
"""Chunks after which the disk is told to write, so that it works while the next ones are hashed."""
logger = logging.getLogger(__name__)


class Writer:
    """Saves the checkpoints of a run under ``directory``, one at a time, and removes those that are not to be kept.

    What the writing thread meets (a full disk, a directory that is not writable) is raised as the OSError that it was
    by the next ``save``, ``wait`` or ``close``. Earlier checkpoints stay as they are.
    """

    def __init__(
        self, directory: Path, *, keep_last: int, keep_best: int, files: Mapping[str, str], resumed: int | None = None
    ) -> None:
        """``files`` are text files to put into every checkpoint, name to content; ``resumed`` is the step of the
        checkpoint that training goes on from: newer ones were passed over and do not count. Raises OSError."""
        taken = files.keys() & {MODEL, OPTIMIZER, STATE, INDEX}
        if taken:
            raise ValueError(f"{', '.join(sorted(taken))} are written by the Writer itself")
        self._directory, self._keep_last, self._keep_best = directory, keep_last, keep_best
        self._files = {name: text.encode() for name, text in files.items()}
        self._buffers = {MODEL: HostBuffer(), OPTIMIZER: HostBuffer()}
        self._current = resumed
        self._pending: list[Future[None]] = []
        if not directory.is_dir():
            directory.mkdir(parents=True)
            fsync_directory(directory.parent)
        retention.remove_leftovers(directory)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")

    def save(self, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Begins a checkpoint of ``state["step"]``; the tensors may change as soon as this returns.

        Waits for the one before. Raises TrainingError, before anything is written, when a tensor is not finite, and
        the OSError of the one before.
        """
        refuse_non_finite([*model.items(), *optimizer.items()])
        text = json.dumps(state, allow_nan=False).encode()
        self.wait()
        contents: dict[str, Sequence[memoryview]] = {
            MODEL: self._buffers[MODEL].fill(model),
            OPTIMIZER: self._buffers[OPTIMIZER].fill(optimizer),
            **{name: [memoryview(content)] for name, content in {**self._files, STATE: text}.items()},
        }
        for device in {tensor.device for tensor in (*model.values(), *optimizer.values()) if tensor.is_cuda}:
            torch.cuda.current_stream(device).synchronize()
        self._submit(self._write, int(state["step"]), contents)

    def scored(self, step: int, val_loss: float) -> None:
        """Notes the validation loss of a step that was saved: the lowest ones decide which are the best."""
        if math.isfinite(val_loss):
            self._submit(self._score, step, val_loss)

    def wait(self) -> None:
        """Returns when everything asked for is on disk. Raises what the writing thread met."""
        errors = [error for future in self._pending if (error := future.exception()) is not None]
        self._pending.clear()
        for other in errors[1:]:
            errors[0].add_note(f"and then: {type(other).__name__}: {other}")
        if errors:
            raise errors[0]

    def close(self) -> None:
        """Waits, and ends the thread. Raises what the thread met."""
        try:
            self.wait()
        finally:
            self._thread.shutdown()
            self._buffers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        except OSError as met:
            if error is None:
                raise
            logger.error("the last checkpoint was not written: %s", met)  # the error on its way is the one to see

    def _submit(self, work: Callable[..., None], *arguments: Any) -> None:
        self._pending.append(self._thread.submit(work, *arguments))

    # --- in the thread ---

    def _write(self, step: int, contents: Mapping[str, Sequence[memoryview]]) -> None:
        target = step_directory(self._directory, step)
        temporary = self._directory / f"{WRITING}{target.name}"
        try:
            temporary.mkdir()
            files = {name: write_file(temporary / name, parts) for name, parts in contents.items()}
            write_file(temporary / INDEX, [memoryview(index_text(step, files))])
            fsync_directory(temporary)
            retention.publish(temporary, target)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._current = step
        self._prune()

    def _score(self, step: int, val_loss: float) -> None:
        retention.record_score(self._directory, step, val_loss)
        self._prune()

    def _prune(self) -> None:
        retention.prune(self._directory, keep_last=self._keep_last, keep_best=self._keep_best, current=self._current)


class HostBuffer:
    """Host memory for the tensors of a file, kept for the next checkpoint; page-locked when they come from a GPU."""

    def __init__(self) -> None:
        self._memory = torch.empty(0, dtype=torch.uint8)

    def fill(self, tensors: Mapping[str, Tensor]) -> list[memoryview]:
        """The file's bytes, complete once the GPU's stream has been waited for."""
        layout = lay_out(tensors)
        if len(self._memory) != layout.size:
            pin = any(tensor.is_cuda for tensor in tensors.values())
            self._memory = torch.empty(0, dtype=torch.uint8)  # not both at the same time
            self._memory = torch.empty(layout.size, dtype=torch.uint8, pin_memory=pin)
        copy_into(self._memory, layout, tensors)
        return [memoryview(layout.header), self._memory.numpy().data]


def refuse_non_finite(tensors: Sequence[tuple[str, Tensor]]) -> None:
    """Raises TrainingError for a tensor that is not finite. Waits for each device once."""
    by_device: dict[torch.device, list[Tensor]] = {}
    for _, tensor in tensors:
        if tensor.is_floating_point() and tensor.numel():
            by_device.setdefault(tensor.device, []).append(tensor.detach())
    # A maximum of finite values is finite; any other sum of them need not be.
    norms = [torch.nn.utils.get_total_norm(group, norm_type=math.inf) for group in by_device.values()]
    if not all(math.isfinite(norm.item()) for norm in norms):
        name = next(name for name, tensor in tensors if not tensor.isfinite().all())
        raise TrainingError(
            f"{name} is not finite, so no checkpoint was written",
            help="resume from the previous checkpoint with a lower optim.lr",
        )


def write_file(path: Path, parts: Sequence[memoryview]) -> FileRef:
    """Writes a new file and hashes it in the same pass; it is on disk when this returns. Raises OSError."""
    digest, size = hashlib.sha256(), 0
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="flush") as flusher:
            flushed: Future[None] | None = None
            for part in parts:
                for number, start in enumerate(range(0, len(part), CHUNK), start=1):
                    chunk = part[start : start + CHUNK]
                    digest.update(chunk)
                    write_all(handle, chunk)
                    if number % FLUSHED == 0:
                        if flushed is not None:
                            flushed.result()
                        flushed = flusher.submit(os.fsync, handle)
                size += len(part)
            if flushed is not None:
                flushed.result()
        os.fsync(handle)
    finally:
        os.close(handle)
    return FileRef(sha256=digest.hexdigest(), bytes=size)


def write_all(handle: int, content: memoryview) -> None:
    while content:
        content = content[os.write(handle, content) :]
