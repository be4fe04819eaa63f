"""The numbers of a step, read from the device without making it wait."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

LATE = {"cpu": 0, "cuda": 1, "mps": 1}
"""Steps that the host may be ahead. With one, the device has work while the host reads what it has finished."""


@dataclass(frozen=True)
class Values:
    """What is known of a step when the device has done it."""

    step: int
    loss: float
    grad_norm: float
    grad_norm_clipped: float
    stop: bool
    """Whether a rank was asked to stop: all of them read it at the same place."""
    at: float
    """When they were known (time.perf_counter)."""


class Readback:
    """Takes the numbers of one step after the other, on the device, and gives them back as floats, in order."""

    def __init__(self, device: torch.device) -> None:
        self._late = LATE[device.type]
        self._pending: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()

    def push(self, step: int, values: Tensor) -> None:
        """``values`` (float32): loss, gradient norm raw and clipped, and whether to stop."""
        if not values.is_cuda:
            self._pending.append((step, values, None))
            return
        host, done = torch.empty(values.shape, pin_memory=True), torch.cuda.Event()
        host.copy_(values, non_blocking=True)
        done.record(torch.cuda.current_stream())
        self._pending.append((step, host, done))

    def pop(self, *, everything: bool = False) -> Iterator[Values]:
        """The steps that are done; ``everything`` waits for those that are not."""
        while len(self._pending) > (0 if everything else self._late):
            step, values, done = self._pending.popleft()
            if done is not None:
                done.synchronize()
            loss, norm, clipped, stop = values.tolist()
            yield Values(step, loss, norm, clipped, stop > 0, time.perf_counter())
