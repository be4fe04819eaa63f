"""What a device draws while it trains, asked of its driver every few seconds."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

import torch

EVERY = 5.0
"""Seconds between two looks."""


class Wattmeter(threading.Thread):
    """The mean of a probe, from a daemon thread, for as long as its block lasts. No probe: nothing is measured."""

    def __init__(self, probe: Callable[[], float] | None, *, every: float = EVERY) -> None:
        super().__init__(name="wattmeter", daemon=True)
        self.probe, self.every = probe, every
        self._sum, self._count = 0.0, 0
        self._ended = threading.Event()

    @property
    def mean(self) -> float | None:
        """Watts; None while nothing was measured."""
        return self._sum / self._count if self._count else None

    def run(self) -> None:
        assert self.probe is not None
        while not self._ended.wait(self.every):
            try:
                self._sum += self.probe()
            except Exception:  # NVML has its own errors; a driver that stops answering costs the rest of the figures
                return
            self._count += 1

    def __enter__(self) -> Wattmeter:
        if self.probe is not None:
            self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        if self.is_alive():
            self.join(2 * self.every)


def probe_of(device: torch.device) -> Callable[[], float] | None:
    """Asks a GPU's driver for the watts that it draws now; None where nothing can be asked."""
    if device.type != "cuda":
        return None

    def watts() -> float:
        return torch.cuda.power_draw(device) / 1000  # NVML's unit is the milliwatt

    try:
        watts()
    except Exception:  # no package nvidia-ml-py, no driver, a device that is a share of one
        return None
    return watts
