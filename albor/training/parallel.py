"""Several devices: which strategy Lightning gets, sharding (FSDP2), and what passes between the ranks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from albor.config.schema.trainer import Trainer
from albor.models.decoder import Decoder
from albor.training.lightning import DDPStrategy, ModelParallelStrategy, ParallelStrategy, Strategy, pl

SIGTERM_BROADCAST = "_broadcast_sigterm_tensor"
"""Method of Lightning's training loop that sends a flag from rank 0 before every batch, and waits for it."""
SIGNAL_HANDLERS = "register_signal_handlers"
"""Method of Lightning's signal connector that takes SIGTERM when training starts."""


def lightning_strategy(trainer: Trainer) -> str | Strategy:
    """What ``pl.Trainer(strategy=...)`` gets; ranks are processes that are there already."""
    if trainer.world_size == 1:
        return "auto"
    if trainer.strategy == "fsdp":
        return ModelParallelStrategy(data_parallel_size=trainer.world_size, tensor_parallel_size=1)
    # Gradients that lie in the buckets already need not be copied there.
    return DDPStrategy(gradient_as_bucket_view=True)


def shard(decoder: Decoder, trainer: Trainer, mesh: DeviceMesh) -> None:
    """Spreads ``decoder`` over ``mesh`` (one dimension), in place; its weights are moved to the mesh's device.

    Every block is gathered when it is its turn, and the embedding and the last norm around them. Weights, gradients
    and what the optimizer keeps are float32 shares. Blocks are gathered in the computing dtype, which they would cast
    their weights to anyway; the embedding's gradient is a sum over tokens, and is kept in float32.
    """
    policy = MixedPrecisionPolicy(
        param_dtype=None if decoder.dtype == torch.float32 else decoder.dtype,
        reduce_dtype=torch.float32,
        cast_forward_inputs=False,  # the rotation and the tokens have the dtype that they are to have
    )
    for block in decoder.model.layers:
        if trainer.compile:  # the gathering around a block cannot be compiled
            block.compile(dynamic=False, fullgraph=True)
        fully_shard(block, mesh=mesh, mp_policy=policy)
    # Also after a forward pass without a backward one (validation), parameters are to be the shares.
    fully_shard(decoder, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(decoder, "loss_sum")
    register_fsdp_forward_method(decoder, "reduce")


def without_sync(strategy: Strategy, decoder: Decoder, *, last: bool) -> AbstractContextManager[None]:
    """Around the passes of a micro-batch: gradients are averaged over the ranks after the ``last`` of a step only.

    Under FSDP every rank holds whole gradients in between.
    """
    if isinstance(decoder, FSDPModule):
        decoder.set_requires_gradient_sync(last)
        return nullcontext()
    if last or not isinstance(strategy, ParallelStrategy):
        return nullcontext()
    context: AbstractContextManager[None] = strategy.block_backward_sync()
    return context


def full(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Whole tensors, copied to CPU memory, on rank 0; other ranks get none.

    Every rank calls this with the same names in the same order. One tensor at a time is whole on the device.
    """
    whole = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach()
        if isinstance(tensor, DTensor):
            tensor = tensor.full_tensor()
        if rank() == 0:
            whole[name] = tensor.to("cpu", copy=True)
    return whole


def distribute(whole: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of ``full``, for every rank that holds ``whole``: shares, devices and names are those of ``like``."""
    return {name: _share(whole[name], tensor) for name, tensor in like.items()}


def _share(whole: Tensor, like: Tensor) -> Tensor:
    if not isinstance(like, DTensor):
        return whole.to(like.device, copy=True)
    # Each rank cuts its own share: sending them round from rank 0 would cost more than reading them did.
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def sum_ranks(value: Tensor) -> Tensor:
    """The sum of ``value`` over the ranks, on each of them; a tensor of its own."""
    value = value.clone()
    if world_size() > 1:
        dist.all_reduce(value)
    return value


def without_sigterm_broadcast(trainer: pl.Trainer) -> None:
    """Keeps Lightning from handling SIGTERM in ``trainer``: ``Interrupt`` does, and the ranks agree when to stop.

    Before every batch its loop sends a flag from rank 0 to the others and waits for the device; its handler sends one
    from wherever the signal struck, which no other rank expects. A Lightning that has neither is left alone.
    """
    for owner, name in ((trainer.fit_loop.epoch_loop, SIGTERM_BROADCAST), (trainer._signal_connector, SIGNAL_HANDLERS)):
        if hasattr(owner, name):
            setattr(owner, name, lambda: None)


def leave() -> None:
    """Ends the connection between the ranks, when all of them have come so far.

    A process that ends with gloo's threads at work, or before another has read its last message, may abort it.
    """
    if dist.is_initialized():
        dist.barrier()
        dist.destroy_process_group()


def max_ranks(value: Tensor) -> None:
    """Replaces ``value`` by its maximum over the ranks."""
    if world_size() > 1:
        dist.all_reduce(value, op=dist.ReduceOp.MAX)


def gather(value: Any) -> list[Any]:
    """What every rank holds (something that can be pickled), by rank."""
    values: list[Any] = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value)
    return values


def bare(optimizers: Any) -> list[torch.optim.Optimizer]:
    """Lightning gives a lone optimizer without its list."""
    return optimizers if isinstance(optimizers, list) else [optimizers]
