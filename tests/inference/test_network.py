"""Inference's own pass over the weights is the decoder's function."""

from __future__ import annotations

import pytest
import torch

from albor.config.schema.model import Model
from albor.inference.network import Network
from albor.models.decoder import Decoder

SHAPES = [
    {},
    {"qk_norm": True},
    {"num_key_value_heads": 4},
    {"num_attention_heads": 8, "num_key_value_heads": 1},
    {"num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 16, "qk_norm": True},
]
TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 3e-2}


@torch.no_grad()
@pytest.mark.parametrize("changes", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_logits_are_the_decoder_s_at_once_and_token_by_token(changes, dtype) -> None:
    torch.manual_seed(0)
    shape = {"name": "m", "hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
             "intermediate_size": 96, "vocab_size": 97, "initializer_range": 0.1, **changes}  # fmt: skip
    model = Decoder(Model(**shape), dtype)
    for name, parameter in model.named_parameters():
        if name.endswith("norm.weight"):
            parameter.add_(0.3 * torch.randn_like(parameter))
    network, tokens = Network(model), torch.randint(0, 97, (3, 20))
    expected = model(tokens).float()
    bound = TOLERANCE[dtype] * float(expected.abs().max())
    torch.testing.assert_close(network.logits(network.read(tokens)), expected, rtol=0, atol=bound)
    # Rows of different lengths, in a cache that holds others, and not in their order.
    cache, rows, lengths = network.empty_cache(5, 24), torch.tensor([2, 0, 1]), torch.tensor([7, 1, 10])
    network.read(tokens[rows, :10], cache, rows)
    cos, sin = network.rotation(torch.arange(24))
    for _ in range(8):
        given = tokens[torch.arange(3), lengths]
        angles = cos.squeeze(1), sin.squeeze(1)
        logits = network.step(given, cache, lengths, angles, int(lengths.max()) + 1)
        torch.testing.assert_close(logits, expected[torch.arange(3), lengths], rtol=0, atol=bound)
        lengths = lengths + 1
