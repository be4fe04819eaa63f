"""Made-up runs for the tests of comparisons: curves and settings only, no measurement."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from albor.report.comparison.columns import Columns
from albor.report.comparison.model import Entry, Evaluated
from albor.report.comparison.whole import Comparison, compared


def columns(final: float = 3.0, steps: int = 40, every: int = 10, seconds: float = 1.0) -> Columns:
    """A loss that falls to ``final``, a validation every ``every`` steps, and ``seconds`` a step."""
    at = np.arange(1, steps + 1, dtype=float)
    loss = final + 5 * np.exp(-at / 8)
    val = np.where(at % every == 0, np.where(at == steps, final, loss), np.nan)
    values = {
        "time": 1e9 + at * seconds,
        "tokens": at * 1024,
        "loss": loss,
        "val_loss": val,
        "val_ppl": np.exp(val),
        "val_bits_per_byte": val / math.log(2) / 3,
    }
    return Columns(at, values)


def entry(lr: str = "0.001", seed: int = 0, final: float = 3.0, **changes: Any) -> Entry:
    """A finished run of a learning rate and a seed."""
    fields: dict[str, Any] = {
        "id": f"{abs(hash((lr, seed))):012x}"[:12],
        "name": f"tiny-{lr}-{seed}",
        "stage": "pretrain",
        "label": "tiny",
        "status": "done",
        "settings": {"model.name": "tiny", "optim.lr": lr, "data.seq_len": "512", "seed": str(seed)},
        "columns": columns(final),
        "flops_per_token": 1000,
        "rows": "rows",
        "documents": "documents",
        "environment": {"git_commit": "abc", "host": "h"},
    }
    return Entry(**fields | changes)


def evaluated(**changes: Any) -> Evaluated:
    fields: dict[str, Any] = {"name": "tiny-quick-1", "rows": "r", "val_loss": 3.0, "val_ppl": 20.0}
    return Evaluated(**fields | changes)


def comparison(*entries: Entry, **changes: Any) -> Comparison:
    fields: dict[str, Any] = {"name": "runs-1", "command": "albor compare", "labels": {}}
    return compared(entries, **fields | changes)


def seeded(finals: dict[str, list[float]], **changes: Any) -> list[Entry]:
    """Runs of several learning rates, whose final losses are given by seed."""
    return [entry(lr, seed, final, **changes) for lr, values in finals.items() for seed, final in enumerate(values)]
