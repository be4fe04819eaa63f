"""Contracts on the optimizer."""

from __future__ import annotations

from collections.abc import Iterator

from albor.contracts.base import TRAINING, Case, Found, contract


@contract(
    "C-OPTIM-001",
    "Muon sees whole matrices",
    formula="optim.kind = muon ⇒ trainer.strategy ≠ fsdp",
    stages=TRAINING,
)
def whole_matrices(case: Case) -> Iterator[Found]:
    if case.cfg.optim.kind == "muon" and case.cfg.trainer.strategy == "fsdp":
        message = "fsdp leaves each device some rows of a matrix, and Muon orthogonalises whole matrices"
        yield "error", "optim.kind", message, "optim=adamw, or trainer.strategy=ddp"
