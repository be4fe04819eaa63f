"""``trainer.profile=true``: a table of the kernels that a few steps spend their time in."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

from albor.training.lightning import pl

FIRST, STEPS = 5, 3
"""Compilation and allocation are over by the fifth step."""
ROWS = 40
logger = logging.getLogger(__name__)


class KernelTable(pl.Callback):
    """Profiles STEPS steps of rank 0 after its first FIRST, counted in this process, and writes ``profile.txt``."""

    def __init__(self, path: Path, accelerator: str) -> None:
        self.path = path
        on_gpu = accelerator == "cuda"
        self.order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        self.profiler = profile(activities=activities)
        self._profiled: int | None = None
        """Steps since the profiler was started; None while it does not run."""

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        if index == FIRST and trainer.is_global_zero:
            self.profiler.start()
            self._profiled = 0

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if self._profiled is not None:
            self._profiled += 1
            if self._profiled == STEPS:
                self._write(STEPS)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """A run too short for the table ends with a shorter one, or says why there is none."""
        if self._profiled is not None:
            self._write(self._profiled)
        elif trainer.is_global_zero and not self.path.exists():
            logger.warning("trainer.profile: there is no table, because this process did not train %d steps", FIRST + 1)

    def _write(self, steps: int) -> None:
        self._profiled = None
        self.profiler.stop()
        table = self.profiler.key_averages().table(sort_by=self.order, row_limit=ROWS)
        text = f"{steps} steps, from step {FIRST + 1} of this process\n{table}\n"
        self.path.write_text(text, encoding="utf-8")
        print(f"  the kernel table: {self.path}", file=sys.stderr, flush=True)
