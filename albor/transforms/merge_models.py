"""One model of several, directories in and a directory out, one tensor in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from albor.config.merging import differences, model_weights
from albor.config.schema.merge import Merge
from albor.config.schema.model import Model
from albor.models.checkpoint import stored_weights, stream_model
from albor.models.errors import ModelError
from albor.models.llama_config import read_config
from albor.transforms.merge import merge

Progress = Callable[[int, int], None]
"""Told how many numbers are done, of how many."""


def merge_models(
    method: Merge,
    models: Sequence[Path],
    base: Path | None,
    out: Path,
    *,
    seed: int,
    progress: Progress = lambda done, total: None,
) -> Model:
    """Merges model directories, ours or Hugging Face's, sharded or not; ``out`` gets the first one's config.json.

    A tensor is stored in the dtype that all inputs' convert to without loss. What DARE drops depends on ``seed``, a
    model's place in ``models`` and the tensor's name only.

    Raises:
        ModelError: an input is not whole, or they are not of one architecture.
        AlborError: the method cannot merge so many models, or needs a base.
    """
    model_weights(method, len(models), has_base=base is not None)
    inputs = [*models, *([] if base is None else [base])]
    configs = [read_config(directory) for directory in inputs]
    for directory, config in zip(inputs[1:], configs[1:], strict=True):
        if apart := differences(vars(configs[0]), vars(config)):
            raise ModelError(
                f"{inputs[0]} and {directory} cannot be merged: {', '.join(apart)}",
                help="merge models of one architecture and vocabulary, best those trained from one base",
            )
    stored = [stored_weights(*pair) for pair in zip(inputs, configs, strict=True)]
    layout = {name: (reduce(torch.promote_types, (s[name].dtype for s in stored)), stored[0][name].shape)
              for name in stored[0]}  # fmt: skip
    total, done = configs[0].num_parameters, 0

    def make(name: str) -> Tensor:
        nonlocal done
        tensors = [weights[name].read() for weights in stored]
        of_base = None if base is None else tensors.pop()
        merged = merge(method, tensors, of_base, name=name, seed=seed)
        done += merged.numel()
        progress(done, total)
        return merged

    stream_model(inputs[0], layout, make, out)
    return configs[0]
