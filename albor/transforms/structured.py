"""Smaller decoders: without some blocks, or without some heads or channels of every block."""

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
QUERIES = {"self_attn.q_proj.weight": 0, "self_attn.o_proj.weight": 1}
KEYS_AND_VALUES = {"self_attn.k_proj.weight": 0, "self_attn.v_proj.weight": 0}


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
        kept = _largest(norms * block.mlp.down_proj.weight.detach().float().norm(dim=0), count)
        stream.pass_through(block, _narrowed(block, dict.fromkeys(CHANNELS, kept)))
        found.append(kept)
        done()
    return found


def with_channels(config: Model, weights: Weights, kept: Sequence[Tensor]) -> tuple[Model, dict[str, Tensor]]:
    """The decoder with these channels of each block's feed-forward layer alone."""
    found = _sliced(weights, [dict.fromkeys(CHANNELS, channels) for channels in kept])
    return replace(config, intermediate_size=len(kept[0])), found


def groups_to_keep(model: Decoder, batches: Iterable[Tensor], count: int, done: Callable[[], None]) -> list[Tensor]:
    """For each block, the indices [count] of its key and value heads that add most to the residual stream with the
    query heads that share them, ascending.

    A group adds its heads' outputs times their columns of the output projection; scored as ``channels_to_keep`` scores
    a channel, the squares added up over the group's. Later blocks see the narrowed ones before them.
    """
    stream, found = Stream(model, batches), []
    for block in blocks(model):
        norms = stream.statistics(block, squares)["mixed"].sqrt()
        scores = norms * block.self_attn.o_proj.weight.detach().float().norm(dim=0)
        kept = _largest(scores.square().view(model.config.num_key_value_heads, -1).sum(1), count)
        stream.pass_through(block, _narrowed(block, _rows(model.config, kept)))
        found.append(kept)
        done()
    return found


def with_groups(config: Model, weights: Weights, kept: Sequence[Tensor]) -> tuple[Model, dict[str, Tensor]]:
    """The decoder with these key and value heads of each block alone, and the query heads that share them."""
    found = _sliced(weights, [_rows(config, groups) for groups in kept])
    groups, each = len(kept[0]), config.num_attention_heads // config.num_key_value_heads
    width = config.head_width
    return replace(config, num_key_value_heads=groups, num_attention_heads=groups * each, head_dim=width), found


def decoder_of(config: Model, weights: Weights, dtype: torch.dtype) -> Decoder:
    """A decoder of these very tensors."""
    with torch.device("meta"):
        model = Decoder(config, dtype)
    model.load_state_dict(weights, assign=True)
    return model


def _largest(scores: Tensor, count: int) -> Tensor:
    """The indices of the largest scores, ascending; of equals the first."""
    return scores.argsort(descending=True, stable=True)[:count].sort().values


def _rows(config: Model, groups: Tensor) -> dict[str, Tensor]:
    """The rows, or columns, that a block's attention matrices have for these key and value heads."""
    each = config.num_attention_heads // config.num_key_value_heads
    own, queries = (
        (groups[:, None] * width + torch.arange(width, device=groups.device)).flatten()
        for width in (config.head_width, config.head_width * each)
    )
    return dict.fromkeys(QUERIES, queries) | dict.fromkeys(KEYS_AND_VALUES, own)


DIMS = CHANNELS | QUERIES | KEYS_AND_VALUES


def _narrowed(block: Block, kept: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: block.get_parameter(name).detach().index_select(DIMS[name], rows) for name, rows in kept.items()}


def _sliced(weights: Weights, kept: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The weights with these rows, or columns, of each block's matrices."""
    found = dict(weights)
    for index, block in enumerate(kept):
        for name, rows in block.items():
            key = f"model.layers.{index}.{name}"
            found[key] = weights[key].index_select(DIMS[name], rows.to(weights[key].device))
    return found
