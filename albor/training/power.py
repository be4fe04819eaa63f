"""What a device draws while it trains, asked of its driver every few seconds."""

from __future__ import annotations

from collections.abc import Callable

import torch

from albor.training.lookout import EVERY, Lookout


class Wattmeter(Lookout):
    """The mean of a probe for as long as its block lasts. No probe: nothing is measured."""

    def __init__(self, probe: Callable[[], float] | None, *, every: float = EVERY) -> None:
        super().__init__("wattmeter", every=every, needed=probe is not None)
        self.probe = probe
        self._sum, self._count = 0.0, 0

    @property
    def mean(self) -> float | None:
        """Watts; None while nothing was measured."""
        return self._sum / self._count if self._count else None

    def look(self) -> bool:
        """See ``Lookout.look``."""
        assert self.probe is not None
        try:
            self._sum += self.probe()
        except Exception:  # NVML has its own errors; a driver that stops answering costs the rest of the figures
            return False
        self._count += 1
        return True


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
