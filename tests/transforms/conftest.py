"""Small decoders, and directories of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from albor.config.schema.model import Model
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder

# A busy machine is no defect.
settings.register_profile("transforms", deadline=None)
settings.load_profile("transforms")

SHAPE: dict[str, Any] = {
    "name": "m",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 96,
}


def shaped(**changes: Any) -> Model:
    return Model(**{**SHAPE, **changes})


def weights_of(config: Model, seed: int) -> dict[str, Tensor]:
    """Random weights, norms included, large enough that every part of the model matters."""
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Decoder(config).state_dict().items()}
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * 0.2 + (len(shape) == 1) for name, shape in shapes.items()}


@pytest.fixture
def directory(tmp_path: Path) -> Callable[..., Path]:
    """Makes a model directory from a seed; keywords change its shape."""

    def make(seed: int, dtype: torch.dtype = torch.float32, **changes: Any) -> Path:
        config = shaped(**changes)
        name = "-".join(map(str, (seed, str(dtype), *changes.values())))
        save_model(config, weights_of(config, seed), tmp_path / name, eos_token_id=0, pad_token_id=4, dtype=dtype)
        return tmp_path / name

    return make
