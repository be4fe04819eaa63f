"""``trainer.profile=true``: a table of the kernels that a few steps spend their time in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from torch.profiler import ProfilerActivity, profile

FIRST, STEPS = 5, 3
"""Compilation and allocation are over by the fifth step."""
ROWS = 40


class KernelTable(pl.Callback):
    """Profiles steps FIRST to FIRST + STEPS of this process and writes ``profile.txt``."""

    def __init__(self, path: Path, accelerator: str) -> None:
        self.path = path
        on_gpu = accelerator == "cuda"
        self.order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        self.profiler = profile(activities=activities)

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int) -> None:
        if index == FIRST:
            self.profiler.start()

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        if index == FIRST + STEPS - 1 and trainer.is_global_zero:
            self.profiler.stop()
            table = self.profiler.key_averages().table(sort_by=self.order, row_limit=ROWS)
            self.path.write_text(f"{STEPS} steps from step {FIRST + 1}\n{table}\n", encoding="utf-8")
