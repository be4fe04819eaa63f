"""The optimizers of a run: which parameters each one has, the step's rate, and a step that the device may skip."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from albor.config.schedule import lr_factor
from albor.config.schema.optim import AdamW, Optimizer
from albor.config.schema.optim import Muon as MuonConfig
from albor.training.errors import TrainingError
from albor.training.optimizers.adamw import adamw
from albor.training.optimizers.clip import Clip
from albor.training.optimizers.muon import Muon
from albor.training.optimizers.state import restore, state_by_name

__all__ = ["Clip", "build", "lr_factor_at", "restore", "set_rate", "state_by_name", "step_if"]


def build(
    module: nn.Module,
    optim: AdamW | MuonConfig,
    *,
    compile: bool,  # noqa: A002 - the trainer's word for it
) -> list[torch.optim.Optimizer]:
    """One AdamW; or an AdamW for embeddings and norms and a Muon for the matrices inside the blocks, an adapter's too.

    Of parameters that have gradients: there need not be any embeddings and norms among them.

    Every parameter group keeps its peak rate as ``peak_lr``. ``compile`` compiles Muon's arithmetic on CUDA.
    Raises TrainingError for Muon when the matrices are sharded.
    """
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    if isinstance(optim, AdamW):
        return [adamw(parameters.values(), optim)]
    matrices = {name: p for name, p in parameters.items() if p.dim() == 2 and "layers" in name.split(".")}
    if any(isinstance(p, DTensor) for p in matrices.values()):
        raise TrainingError(
            "fsdp leaves each device some rows of a matrix, and Muon orthogonalises whole matrices",
            help="optim=adamw, or trainer.strategy=ddp",
        )
    rest = [p for name, p in parameters.items() if name not in matrices]
    muon = Muon(matrices.values(), optim, compile=compile)
    return [adamw(rest, optim), muon] if rest else [muon]


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Sets every group's rate to the share ``factor`` of its peak."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor


def lr_factor_at(optim: Optimizer, step: int, warmup_steps: int, total_steps: int) -> float:
    """Share of the peak rate that step ``step`` (from 1) is trained with."""
    return lr_factor(
        step,
        schedule=optim.schedule,
        warmup_steps=warmup_steps,
        total_steps=total_steps,
        min_lr_ratio=optim.min_lr_ratio,
        decay_fraction=optim.decay_fraction,
    )


def step_if(optimizers: Iterable[torch.optim.Optimizer], finite: Tensor) -> None:
    """Steps if ``finite`` (boolean scalar); else weights, moments and step counts keep their bits.

    Decided on the device, so that the host need not wait: AdamW's fused kernel reads the flag as it does for
    GradScaler, and Muon reads the same one.
    """
    if finite.device.type == "mps" and not finite:  # the fused kernel there ignores the flag (pytorch#186360)
        return
    for optimizer in optimizers:
        optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
        optimizer.step()
