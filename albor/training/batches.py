"""From the loader's micro-batches to windows: what one optimizer step consumes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from albor.models.loss import IGNORED

Batch = tuple[NDArray[Any], ...]
"""Tokens and labels [micro_batch, seq_len]; a label is the next token, or -100 where there is none. Then what else an
objective needs of these rows."""


class Batches(Protocol):
    """The training data of one rank. An iteration is what is left of an epoch; the next one is the next epoch."""

    def __iter__(self) -> Iterator[Batch]: ...

    def state_dict(self) -> Any:
        """The position after the last batch handed out; goes through JSON."""

    def load_state_dict(self, state: Any, /) -> None: ...


@dataclass(frozen=True)
class Window:
    """The micro-batches of one optimizer step on one rank."""

    batches: list[tuple[Tensor, ...]]
    valid: int
    """Labels that are not ignored: what the step's loss is a mean over."""
    position: Any
    """The loader's state after this window."""

    def to(self, device: torch.device) -> Window:
        if device.type == "cpu":
            return self
        pin = device.type == "cuda"
        moved = [
            tuple((t.pin_memory() if pin else t).to(device, non_blocking=pin) for t in batch) for batch in self.batches
        ]
        return Window(moved, self.valid, self.position)


class Windows:
    """Exactly ``steps`` windows of ``grad_accum`` micro-batches.

    Lightning reads a sized iterable without looking ahead, and each window carries the position after itself, so that a
    checkpoint never records an unread batch as read.
    """

    def __init__(self, batches: Batches, *, grad_accum: int, steps: int) -> None:
        self.batches, self.grad_accum, self.steps = batches, grad_accum, steps

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Window]:
        stream = self._endless()
        for _ in range(self.steps):
            arrays = [next(stream) for _ in range(self.grad_accum)]
            valid = sum(int((batch[1] != IGNORED).sum()) for batch in arrays)
            yield Window([to_tensors(batch) for batch in arrays], valid, self.batches.state_dict())

    def _endless(self) -> Iterator[Batch]:
        while True:
            yield from self.batches


def to_tensors(batch: Batch) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in batch)
