"""Zeros in the matrices of a decoder's blocks, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from albor.config.schema.prune import Magnitude, SparseGpt, Wanda
from albor.models.decoder import Decoder
from albor.transforms.calibration import MATRICES, Stream, blocks, gram, squares
from albor.transforms.prune import pattern_mask, wanda_scores
from albor.transforms.sparsegpt import sparsegpt

SparseMethod = Magnitude | Wanda | SparseGpt


@torch.no_grad()
def sparsified(
    method: SparseMethod, model: Decoder, batches: Iterable[Tensor], done: Callable[[], None]
) -> dict[str, Tensor]:
    """The pruned matrices by their names in the model, whose own stay as they are. A sparsity of 0 leaves every bit.

    Magnitude compares the weights of a matrix, Wanda those of an output, as their papers do.
    """
    stream = None if isinstance(method, Magnitude) or not method.sparsity else Stream(model, batches)
    found: dict[str, Tensor] = {}
    for index, block in enumerate(blocks(model)):
        seen = {} if stream is None else stream.statistics(block, gram if isinstance(method, SparseGpt) else squares)
        own = {name: block.get_parameter(name).detach() for name in MATRICES}
        new = {name: _pruned(method, weight, seen.get(MATRICES[name])) for name, weight in own.items()}
        found |= {f"model.layers.{index}.{name}": weight for name, weight in new.items()}
        if stream is not None:
            stream.pass_through(block, new)
        done()
    return found


def _pruned(method: SparseMethod, weight: Tensor, statistic: Tensor | None) -> Tensor:
    """``statistic`` is the ``squares`` or the ``gram`` of the matrix's inputs."""
    if not method.sparsity:
        return weight
    if isinstance(method, SparseGpt):
        assert statistic is not None
        return sparsegpt(weight, statistic, method)
    if statistic is None:
        keep = pattern_mask(weight.abs(), method.sparsity, method.pattern, per="tensor")
    else:
        keep = pattern_mask(wanda_scores(weight, statistic.sqrt()), method.sparsity, method.pattern)
    return weight.masked_fill(~keep, 0)
