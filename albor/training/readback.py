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
    seconds: float
    """From the end of the step before to the end of this one, by the clock of what computes them."""
    parts: tuple[float, ...] = ()
    """What else the objective measured, means over the valid labels."""


class Readback:
    """Takes the numbers of one step after the other, on the device, and gives them back as floats, in order.

    The host knows of a step when it comes to look, which may be long after a GPU was done: that has a clock of its own.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._late = device, LATE[device.type]
        self._pending: deque[tuple[int, Tensor, torch.cuda.Event | None]] = deque()
        self.restart()

    def restart(self) -> None:
        """A step begins here: what came before is no step's time. Nothing may be pending."""
        self._known = time.perf_counter()
        self._ended = self._event() if self._device.type == "cuda" else None

    def _event(self) -> torch.cuda.Event:  # gpu
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def push(self, step: int, values: Tensor) -> None:
        """``values`` (float32): loss, gradient norm raw and clipped, whether to stop, and the objective's parts."""
        if values.is_cuda:  # gpu
            host = torch.empty(values.shape, pin_memory=True)
            host.copy_(values, non_blocking=True)
            self._pending.append((step, host, self._event()))
        else:
            self._pending.append((step, values, None))

    def pop(self, *, everything: bool = False) -> Iterator[Values]:
        """The steps that are done; ``everything`` waits for those that are not."""
        while len(self._pending) > (0 if everything else self._late):
            step, values, done = self._pending.popleft()
            if done is not None:  # gpu
                done.synchronize()
            loss, norm, clipped, stop, *parts = values.tolist()
            yield Values(step, loss, norm, clipped, stop > 0, self._seconds(done), tuple(parts))

    def _seconds(self, done: torch.cuda.Event | None) -> float:
        known, self._known = self._known, time.perf_counter()
        if done is not None and self._ended is not None:  # gpu
            ended, self._ended = self._ended, done
            milliseconds: float = ended.elapsed_time(done)
            return milliseconds / 1000
        return self._known - known
