"""The optimizers' state by parameter name: what a checkpoint holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

from albor.training.errors import TrainingError
from albor.training.optimizers.muon import Muon
from albor.training.parallel import distribute

Optimizers = Iterable[torch.optim.Optimizer]


def state_by_name(module: nn.Module, optimizers: Optimizers) -> dict[str, Tensor]:
    """``<parameter>.<moment>`` to tensor, in the module's order: the very tensors, sharded ones too, and no copies.

    Empty before the first step.
    """
    return {
        f"{name}.{moment}": value
        for name, parameter, optimizer in owned(module, optimizers)
        for moment, value in optimizer.state.get(parameter, {}).items()
    }


def restore(module: nn.Module, optimizers: Optimizers, state: Mapping[str, Tensor]) -> None:
    """The inverse of ``state_by_name`` for whole tensors: copies, on the parameters' devices and sharded like them.

    Raises TrainingError, and changes nothing, when ``state`` is not of these parameters and optimizers.
    """
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in state.items():
        name, _, moment = key.rpartition(".")
        found.setdefault(name, {})[moment] = value
    owners = {name: (parameter, optimizer) for name, parameter, optimizer in owned(module, optimizers)}
    for name, moments in found.items():
        if name not in owners or moments.keys() != moments_of(owners[name][1]):
            raise TrainingError(
                f"the checkpoint's optimizer state of {name} ({', '.join(sorted(moments))}) is not of this run",
                help="resume with the model and the optimizer that wrote it",
            )
    for name, moments in found.items():
        parameter, optimizer = owners[name]
        scalar = torch.empty((), device=parameter.device)  # AdamW's step count is one, whole on every rank
        like = {moment: parameter if value.dim() else scalar for moment, value in moments.items()}
        optimizer.state[parameter] = distribute(moments, like)


def owned(module: nn.Module, optimizers: Optimizers) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
    """(name, parameter, its optimizer), in the module's order."""
    owner = {p: optimizer for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]}
    return ((name, p, owner[p]) for name, p in module.named_parameters() if p in owner)


def moments_of(optimizer: torch.optim.Optimizer) -> set[str]:
    return {"momentum_buffer"} if isinstance(optimizer, Muon) else {"step", "exp_avg", "exp_avg_sq"}
