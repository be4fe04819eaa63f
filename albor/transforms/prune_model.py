"""A decoder in, a smaller or sparser one out, with what that saves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import count

from torch import Tensor

from albor.config.schema.model import Model
from albor.config.schema.prune import Magnitude, Prune, SparseGpt, Storage, Wanda
from albor.config.sizes import pruned_shape, quantized_bytes
from albor.models.decoder import Decoder
from albor.transforms.calibration import MATRICES
from albor.transforms.sparse import sparsified
from albor.transforms.structured import (
    channels_to_keep,
    decoder_of,
    groups_to_keep,
    influences,
    most_influential,
    with_blocks,
    with_channels,
    with_groups,
)

Progress = Callable[[int, int], None]
"""Told how many blocks have been looked at, of how many."""


@dataclass(frozen=True, kw_only=True)
class Savings:
    """What pruning really saves: a zero takes as many bytes of a dense file as any other weight."""

    parameters_before: int
    parameters: int
    prunable: int
    """Weights of the blocks' matrices, after pruning."""
    zeros: int
    """Of them."""
    bytes_before: int
    """Of the dense quantised file."""
    bytes: int

    @property
    def sparsity(self) -> float:
        return self.zeros / self.prunable


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A pruned decoder."""

    config: Model
    weights: dict[str, Tensor]
    """Its state dict; tensors that pruning left alone are the original's own."""
    savings: Savings
    influence: tuple[float, ...] = ()
    """Of each of the original's blocks, where blocks were weighed."""
    blocks: tuple[int, ...]
    """Which of the original's blocks are left."""


def prune_model(
    method: Prune,
    model: Decoder,
    batches: Iterable[Tensor],
    *,
    storage: Storage | None = None,
    progress: Progress = lambda done, total: None,
) -> Pruned:
    """Prunes a decoder, whose own weights stay as they are; it is put into evaluation mode.

    Args:
        batches: token ids [B, T] to calibrate on; ``magnitude`` looks at none.
        storage: the file that savings are counted in; a method with a target size has its own.

    Raises:
        AlborError: the method cannot be applied to a model of this shape, or there is nothing to calibrate on.
    """
    before, rows = model.config, list(batches)
    target = pruned_shape(before, method)
    weights, kept = model.state_dict(), list(range(before.num_hidden_layers))
    influence: tuple[float, ...] = ()
    if isinstance(method, (Magnitude, Wanda, SparseGpt)):
        weights |= sparsified(method, model, rows, _counted(progress, before.num_hidden_layers))
    else:
        weights, kept, influence = _shrunk(model, target, rows, progress)
    storage = method if isinstance(method, Storage) else storage or Storage()
    matrices = [tensor for name, tensor in weights.items() if name.endswith(tuple(MATRICES))]
    savings = Savings(
        parameters_before=before.num_parameters,
        parameters=target.num_parameters,
        prunable=sum(tensor.numel() for tensor in matrices),
        zeros=sum(tensor.numel() - int(tensor.count_nonzero()) for tensor in matrices),
        bytes_before=quantized_bytes(before, storage),
        bytes=quantized_bytes(target, storage),
    )
    return Pruned(config=target, weights=weights, savings=savings, influence=influence, blocks=tuple(kept))


def _shrunk(
    model: Decoder, target: Model, rows: Sequence[Tensor], progress: Progress
) -> tuple[dict[str, Tensor], list[int], tuple[float, ...]]:
    """The weights of the shape ``target``, the blocks that are left, and each block's influence if some go.

    Blocks go first, then heads, then channels: each is weighed where the others have gone.
    """
    config, weights = model.config, model.state_dict()
    kept = list(range(config.num_hidden_layers))
    influence: tuple[float, ...] = ()
    shallower = target.num_hidden_layers < config.num_hidden_layers
    narrower = target.intermediate_size < config.intermediate_size
    fewer = target.num_attention_heads < config.num_attention_heads
    total = shallower * config.num_hidden_layers + (fewer + narrower) * target.num_hidden_layers
    done = _counted(progress, total)
    if shallower:
        influence = tuple(influences(model, rows, done))
        kept = most_influential(influence, target.num_hidden_layers)
        config, weights = with_blocks(config, weights, kept)
    if fewer:
        groups = groups_to_keep(decoder_of(config, weights, model.dtype), rows, target.num_key_value_heads, done)
        config, weights = with_groups(config, weights, groups)
    if narrower:
        channels = channels_to_keep(decoder_of(config, weights, model.dtype), rows, target.intermediate_size, done)
        config, weights = with_channels(config, weights, channels)
    return weights, kept, influence


def _counted(progress: Progress, total: int) -> Callable[[], None]:
    done = count(1)
    return lambda: progress(next(done), total)
