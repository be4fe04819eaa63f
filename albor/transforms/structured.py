"""Smaller decoders: without some blocks, or without some channels of every feed-forward layer."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.decoder import Block, Decoder
from albor.transforms.calibration import Stream, blocks, squares

Weights = Mapping[str, Tensor]
LAYER = re.compile(r"model\.layers\.(\d+)\.(.*)")
CHANNELS = {"mlp.gate_proj.weight": 0, "mlp.up_proj.weight": 0, "mlp.down_proj.weight": 1}
"""A block's matrices that have a feed-forward channel per row or column, and which of the two."""


def influences(model: Decoder, batches: Iterable[Tensor], done: Callable[[], None]) -> list[float]:
    """How much each block changes the residual stream (``Stream.pass_through``)."""
    stream, found = Stream(model, batches), []
    for block in blocks(model):
        found.append(stream.pass_through(block, {}))
        done()
    return found


def most_influential(influence: Sequence[float], count: int) -> list[int]:
    """The indices of so many blocks, in their order in the model; of equals the first."""
    return sorted(sorted(range(len(influence)), key=lambda index: -influence[index])[:count])


def with_blocks(config: Model, weights: Weights, kept: Sequence[int]) -> tuple[Model, dict[str, Tensor]]:
    """The decoder of the blocks ``kept`` alone, in that order."""
    found = {}
    for name, tensor in weights.items():
        place = LAYER.fullmatch(name)
        if place is None:
            found[name] = tensor
        elif (index := int(place[1])) in kept:
            found[f"model.layers.{kept.index(index)}.{place[2]}"] = tensor
    return replace(config, num_hidden_layers=len(kept)), found


def channels_to_keep(model: Decoder, batches: Iterable[Tensor], count: int, done: Callable[[], None]) -> list[Tensor]:
    """For each block, the indices [count] of its feed-forward channels that add most to the residual stream, ascending.

    A channel adds its activation times its column of the down projection; over the calibration tokens that has the
    Frobenius norm ‖a‖₂·‖w‖₂, which is Wanda's score of the column's weights taken together (Wanda-sp: An et al., 2024).
    Later blocks see the narrowed ones before them.
    """
    stream, found = Stream(model, batches), []
    for block in blocks(model):
        norms = stream.statistics(block, squares)["activated"].sqrt()
        scores = norms * block.mlp.down_proj.weight.detach().float().norm(dim=0)
        kept = scores.argsort(descending=True, stable=True)[:count].sort().values
        stream.pass_through(block, _narrowed(block, kept))
        found.append(kept)
        done()
    return found


def with_channels(config: Model, weights: Weights, kept: Sequence[Tensor]) -> tuple[Model, dict[str, Tensor]]:
    """The decoder with these channels of each block's feed-forward layer alone."""
    found = dict(weights)
    for index, channels in enumerate(kept):
        for name, dim in CHANNELS.items():
            key = f"model.layers.{index}.{name}"
            found[key] = weights[key].index_select(dim, channels.to(weights[key].device))
    return replace(config, intermediate_size=len(kept[0])), found


def decoder_of(config: Model, weights: Weights, dtype: torch.dtype) -> Decoder:
    """A decoder of these very tensors."""
    with torch.device("meta"):
        model = Decoder(config, dtype)
    model.load_state_dict(weights, assign=True)
    return model


def _narrowed(block: Block, kept: Tensor) -> dict[str, Tensor]:
    return {name: block.get_parameter(name).detach().index_select(dim, kept) for name, dim in CHANNELS.items()}
