from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import settings

from albor.config.schema.model import Model
from albor.models.decoder import Decoder

# A busy machine is no defect.
settings.register_profile("models", deadline=None)
settings.load_profile("models")

SHAPE: dict[str, Any] = {
    "name": "m",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 97,
}


@pytest.fixture
def decoder() -> Callable[..., Decoder]:
    """Makes a decoder of 97 tokens, the same one each time; keywords change its shape."""

    def make(dtype: torch.dtype = torch.float32, **changes) -> Decoder:
        torch.manual_seed(0)
        return Decoder(Model(**{**SHAPE, **changes}), dtype)

    return make
