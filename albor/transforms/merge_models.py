"""One model of several, directories in and a directory out, one tensor in memory at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import reduce
from pathlib import Path

import torch
from torch import Tensor

from albor.config.schema.merge import Merge
from albor.config.schema.model import Model
from albor.models.checkpoint import stored_weights, stream_model
from albor.models.errors import ModelError
from albor.models.llama_config import read_config
from albor.transforms.merge import checked_weights, merge

UNCOMPARED = ("name", "initializer_range", "dropout", "max_position_embeddings")
"""What models may differ in and still be merged: it does not change what their weights mean."""
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
        ModelError: the inputs are not of one architecture, or the method cannot merge them.
    """
    checked_weights(method, len(models), has_base=base is not None)
    inputs = [*models, *([] if base is None else [base])]
    configs = [read_config(directory) for directory in inputs]
    for directory, config in zip(inputs[1:], configs[1:], strict=True):
        _refuse_another(inputs[0], configs[0], directory, config)
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


def _refuse_another(first: Path, ours: Model, second: Path, theirs: Model) -> None:
    """Raises ModelError, naming every field in which the two architectures differ."""
    fields = [field.name for field in dataclasses.fields(Model) if field.name not in UNCOMPARED]
    pairs = [(name, getattr(ours, name), getattr(theirs, name)) for name in fields]
    if apart := [f"{name} {mine} and {other}" for name, mine, other in pairs if mine != other]:
        raise ModelError(
            f"{first} and {second} cannot be merged: {', '.join(apart)}",
            help="merge models of one architecture and vocabulary, best those trained from one base",
        )
