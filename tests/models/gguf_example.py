"""A model's directory with a tokenizer, small and peaked, to be exported."""

from __future__ import annotations

import dataclasses
import inspect
import json
import textwrap
from pathlib import Path
from typing import Any

import torch
from tokenizers import pre_tokenizers

from albor.config.schema.model import Model
from albor.data.tokenizer import MIDDLE, PREFIX, SUFFIX, Codec, train_bpe
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder

SHAPE: dict[str, Any] = {
    "name": "example",
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 96,
    "vocab_size": 512,
    "max_position_embeddings": 300,
    "rope_theta": 20_000.0,
    "initializer_range": 0.06,
}


def codec(*, digits: bool = True, vocab_size: int = 512) -> Codec:
    """Trained on some modules of the standard library, with digits apart or not."""
    modules = (json.decoder, textwrap, inspect, dataclasses)
    tokenizer = train_bpe([inspect.getsource(module) for module in modules], vocab_size=vocab_size)
    if not digits:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return Codec(tokenizer, fim=(PREFIX, SUFFIX, MIDDLE))


def example(directory: Path, *, digits: bool = True, **changes: Any) -> Decoder:
    """Writes the directory; keywords change the model's shape."""
    torch.manual_seed(0)
    model = Decoder(Model(**{**SHAPE, **changes}))
    # Peaked distributions: the embedding is the head too.
    with torch.no_grad():
        model.get_parameter("model.embed_tokens.weight").mul_(2)
    save_model(model.config, model.state_dict(), directory, eos_token_id=0, pad_token_id=4)
    codec(digits=digits, vocab_size=model.config.vocab_size).save(directory)
    return model
