"""How fast training is, and what share of the hardware it uses."""

from __future__ import annotations

import resource
import statistics
import sys
from array import array
from collections import deque

import torch

SETTLING = 5
"""First steps of a process that are left out of its median: compilation, autotuning, cold caches."""
RECENT = 20
"""Steps that an estimate of the time left looks back on."""
GIB = 2**30


class Meter:
    """Bookkeeping of step times; never touches a device."""

    def __init__(
        self,
        *,
        tokens_per_step: int,
        flops_per_token: int,
        parameters: int,
        peak_flops: float | None,
        total_steps: int,
    ) -> None:
        """
        Args:
            tokens_per_step: tokens of the global batch.
            flops_per_token: forward and backward, 6·P + 12·L·H·T (PaLM, appendix B).
            parameters: P; ``6·P`` is the original's count, without attention.
            peak_flops: of all devices together, FLOP/s, dense bf16 for bf16 and for fp8; None leaves MFU out.
            total_steps: of the whole run.
        """
        self.tokens_per_step, self.total_steps = tokens_per_step, total_steps
        self._flops = {"mfu": flops_per_token, "mfu_6p": 6 * parameters}
        self._peak = peak_flops
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._settled = array("d")
        self._steps = 0

    def step(self, step: int, seconds: float) -> dict[str, float]:
        """Takes how long step ``step`` took, validations and checkpoints left out. Gives tokens_per_second,
        mfu and mfu_6p (shares of the peak), and eta_seconds, from the median of the latest steps."""
        rate = self.tokens_per_step / seconds
        self._steps += 1
        self._recent.append(seconds)
        if self._steps > SETTLING:
            self._settled.append(rate)
        shares = {name: flops * rate / self._peak for name, flops in self._flops.items()} if self._peak else {}
        left = (self.total_steps - step) * self.usual_seconds()
        return {"tokens_per_second": rate, **shares, "eta_seconds": left}

    def usual_seconds(self) -> float:
        """Of a step: the median of the latest ones; 0 before the first."""
        return statistics.median(self._recent) if self._recent else 0.0

    def median_tokens_per_second(self) -> float | None:
        """Over the steps of this process after the first few; None while there are no others."""
        return statistics.median(self._settled) if self._settled else None


def memory(device: torch.device) -> dict[str, float]:
    """Peak memory so far, ``memory_gib``: what tensors took of the accelerator, or the resident set on a CPU."""
    if device.type == "cuda":  # gpu
        return {"memory_gib": torch.cuda.max_memory_allocated(device) / GIB}
    if device.type == "mps":
        return {"memory_gib": torch.mps.driver_allocated_memory() / GIB}
    unit = 1 if sys.platform == "darwin" else 1024
    return {"memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GIB}
