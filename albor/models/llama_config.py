"""``config.json`` of transformers' LlamaForCausalLM and Qwen3ForCausalLM: for old and new readers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from albor.config.schema.model import Model
from albor.models.errors import ModelError

CONFIG_FILE = "config.json"
ARCHITECTURES = {"llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
"""By model type; Qwen3 without biases is Llama with QK-norm."""
EXPECTED = {
    "hidden_act": "silu",
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
}
"""The layout that the decoder computes."""
LLAMA_DEFAULTS = {"hidden_act": "silu", "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False}
"""What transformers takes an absent key to mean."""


def config_text(model: Model, *, dtype: torch.dtype, eos_token_id: int | None, pad_token_id: int | None) -> str:
    """The content of config.json. Rope and dtype are said twice: transformers renamed both keys in its version 5."""
    dtype_name = str(dtype).removeprefix("torch.")
    layout = "qwen3" if model.qk_norm else "llama"
    content = {
        "architectures": [ARCHITECTURES[layout]],
        "model_type": layout,
        **EXPECTED,
        "name": model.name,
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_hidden_layers,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads,
        "head_dim": model.head_width,
        "intermediate_size": model.intermediate_size,
        "vocab_size": model.vocab_size,
        "max_position_embeddings": model.max_position_embeddings,
        "rms_norm_eps": model.rms_norm_eps,
        "initializer_range": model.initializer_range,
        "rope_theta": model.rope_theta,
        "rope_scaling": None,
        "rope_parameters": {"rope_type": "default", "rope_theta": model.rope_theta},
        "torch_dtype": dtype_name,
        "dtype": dtype_name,
        "bos_token_id": None,
        "eos_token_id": eos_token_id,
        "pad_token_id": pad_token_id,
        "use_cache": True,
    }
    return json.dumps(content, indent=2) + "\n"


def read_config(directory: Path) -> Model:
    """The model described by a directory's config.json. Raises ModelError when it is not one the decoder computes."""
    raw = read_json(directory / CONFIG_FILE)
    layout = raw.get("model_type")
    if layout not in ARCHITECTURES:
        raise _refusal(directory, "model_type", layout, "llama or qwen3")
    for key, expected in EXPECTED.items():
        value = raw.get(key, LLAMA_DEFAULTS.get(key))
        if value != expected:
            raise _refusal(directory, key, value, expected)
    try:
        model = Model(
            name=raw.get("name") or directory.resolve().name,
            hidden_size=raw["hidden_size"],
            num_hidden_layers=raw["num_hidden_layers"],
            num_attention_heads=raw["num_attention_heads"],
            num_key_value_heads=raw.get("num_key_value_heads") or raw["num_attention_heads"],
            intermediate_size=raw["intermediate_size"],
            vocab_size=raw["vocab_size"],
            max_position_embeddings=raw.get("max_position_embeddings", 2048),
            rope_theta=_rope_theta(directory, raw),
            rms_norm_eps=raw.get("rms_norm_eps", 1e-6),
            initializer_range=raw.get("initializer_range", 0.02),
            qk_norm=layout == "qwen3",
        )
    except KeyError as error:
        raise ModelError(f"{directory / CONFIG_FILE} has no {error}", help="export the model again") from None
    return with_head_dim(model, raw.get("head_dim"))


def with_head_dim(model: Model, head_dim: int | None) -> Model:
    """The model with this width of a head, said only where it does not follow from the others."""
    follows = not head_dim or head_dim * model.num_attention_heads == model.hidden_size
    return model if follows else replace(model, head_dim=head_dim)


def with_dtype(directory: Path, dtype: torch.dtype) -> str:
    """The content of a directory's config.json, for weights stored in ``dtype``."""
    name = str(dtype).removeprefix("torch.")
    return json.dumps({**read_json(directory / CONFIG_FILE), "torch_dtype": name, "dtype": name}, indent=2) + "\n"


def read_eos(directory: Path) -> frozenset[int]:
    """The ids that end a text, by config.json; empty when it names none."""
    eos = read_json(directory / CONFIG_FILE).get("eos_token_id")
    return frozenset([] if eos is None else [eos] if isinstance(eos, int) else eos)


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path} does not exist",
            help="give the directory of a model, one that holds config.json and model.safetensors",
        ) from None
    except (ValueError, OSError) as error:
        raise ModelError(f"{path} cannot be read: {error}", help="download or export the model again") from None
    if not isinstance(content, dict):
        raise ModelError(f"{path} does not hold a JSON object", help="download or export the model again")
    return content


def _rope_theta(directory: Path, raw: Mapping[str, Any]) -> float:
    rope = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind != "default":
        raise _refusal(directory, "rope_type", kind, "default")
    return float(rope.get("rope_theta", raw.get("rope_theta", 10_000.0)))


def _refusal(directory: Path, key: str, value: object, expected: object) -> ModelError:
    return ModelError(
        f"{directory / CONFIG_FILE} says {key}={value!r}; the decoder computes {expected!r} only",
        help="start from a Llama-layout model without biases and with tied embeddings, for example one made by albor",
    )
