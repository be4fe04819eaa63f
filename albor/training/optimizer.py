"""AdamW: which parameters decay, the step's learning rate, clipping, and its state by parameter name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from albor.config.schedule import lr_factor
from albor.config.schema.optim import AdamW

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def build(module: nn.Module, optim: AdamW) -> torch.optim.AdamW:
    """Decay on matrices only: pulling a norm's weight to zero shrinks the signal, not the capacity."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": optim.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]], lr=optim.lr, betas=optim.betas, eps=optim.eps, fused=True
    )


def learning_rate(optim: AdamW, *, step: int, warmup_steps: int, total_steps: int) -> float:
    """The rate that step ``step`` (from 1) is trained with."""
    return optim.lr * lr_factor(
        step,
        schedule=optim.schedule,
        warmup_steps=warmup_steps,
        total_steps=total_steps,
        min_lr_ratio=optim.min_lr_ratio,
        decay_fraction=optim.decay_fraction,
    )


def clip(parameters: Iterable[nn.Parameter], max_norm: float) -> Tensor:
    """Scales the gradients down to a global norm of ``max_norm``; gives the norm that they had (float32 scalar)."""
    with_gradient = [p for p in parameters if p.grad is not None]
    norm = torch.nn.utils.get_total_norm([p.grad for p in with_gradient if p.grad is not None])
    torch.nn.utils.clip_grads_with_norm_(with_gradient, max_norm, norm)
    return norm


def step_if(optimizer: torch.optim.Optimizer, finite: Tensor) -> None:
    """Steps if ``finite`` (boolean scalar), decided on the device so that the host need not wait.

    The fused kernel reads the flag as it does for GradScaler.
    """
    optimizer.found_inf = (~finite).float()  # type: ignore[attr-defined]
    optimizer.step()


def state_by_name(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """``<parameter>.<moment>`` to tensor; empty before the first step."""
    return {
        f"{name}.{key}": value
        for name, parameter in module.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore(module: nn.Module, optimizer: torch.optim.Optimizer, state: Mapping[str, Tensor]) -> None:
    """The inverse of ``state_by_name``, onto the parameters' device."""
    for name, parameter in module.named_parameters():
        if f"{name}.step" in state:
            optimizer.state[parameter] = {key: state[f"{name}.{key}"].to(parameter.device) for key in MOMENTS}
