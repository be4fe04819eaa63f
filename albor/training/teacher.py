"""Teachers: our decoder, or any causal language model that transformers computes, for its hidden states and head."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from albor.errors import AlborError
from albor.models.attention import Mask
from albor.models.checkpoint import load_model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from albor.models.llama_config import CONFIG_FILE, read_config, read_json

INSTALL = "pip install 'albor[teacher]'"


class Teacher(Protocol):
    """A frozen model."""

    @property
    def head(self) -> Tensor:
        """[V, H], in the computing dtype."""

    def hidden(self, tokens: Tensor, mask: Mask = None) -> Tensor:
        """Final hidden states [B, T, H] of tokens [B, T]: what the head makes logits of."""


class DecoderTeacher:
    """A model of albor's own layout."""

    def __init__(self, decoder: Decoder, *, compile: bool) -> None:  # noqa: A002 - the trainer's word
        self.decoder = decoder.to(decoder.dtype).eval().requires_grad_(False)  # no master is needed, nor cast each time
        if compile:
            self.decoder.compile_regions()

    @property
    def head(self) -> Tensor:
        return self.decoder.model.embed_tokens.weight

    def hidden(self, tokens: Tensor, mask: Mask = None) -> Tensor:
        return self.decoder.hidden(tokens, mask)


class TransformersTeacher:
    """Any other: dense or a mixture of experts."""

    def __init__(self, model: Any) -> None:
        self.model = model.eval().requires_grad_(False)

    @property
    def head(self) -> Tensor:
        weight: Tensor = self.model.get_output_embeddings().weight
        return weight

    def hidden(self, tokens: Tensor, mask: Mask = None) -> Tensor:
        if mask is not None and not isinstance(mask, Tensor):
            raise AlborError(
                "a teacher that transformers computes cannot keep the documents of a row apart on a GPU",
                "trainer.document_mask=false",
                code="E-TEACHER",
            )
        found: Tensor = self.model.get_decoder()(tokens, attention_mask=mask, use_cache=False).last_hidden_state
        return found


def load_teacher(directory: Path, *, dtype: torch.dtype, device: torch.device, compile: bool) -> Teacher:  # noqa: A002
    """The frozen model of a directory, computing in ``dtype``.

    Raises:
        ModelError: it cannot be read, holds pickles, or asks for code of its own.
        AlborError: transformers is needed for it and not installed.
    """
    if is_ours(directory):
        return DecoderTeacher(load_model(directory, dtype=dtype, device=str(device)), compile=compile)
    refuse_unsafe(directory)
    try:
        from transformers import AutoModelForCausalLM
    except ImportError:
        raise AlborError(
            f"{directory} is no model of albor's layout, and transformers, which would compute it, is not installed",
            INSTALL,
            code="E-TEACHER",
        ) from None
    try:
        model = AutoModelForCausalLM.from_pretrained(
            directory, dtype=dtype, use_safetensors=True, trust_remote_code=False, local_files_only=True
        )
    except (OSError, ValueError, KeyError) as error:
        cause = str(error).strip().splitlines()[0]
        raise ModelError(
            f"{directory} cannot be loaded by transformers: {cause}", help="give another teacher"
        ) from None
    return TransformersTeacher(model.to(device))


@dataclass(frozen=True)
class Reading:
    """How a model wants its texts."""

    context: int
    """The most tokens that it reads."""
    start_id: int | None
    """The token that they begin with."""


def reading(directory: Path) -> Reading:
    """What config.json says of it. Raises ModelError."""
    config = read_json(directory / CONFIG_FILE)
    config = config.get("text_config", {}) | config  # a model of images and text has one of its own for text
    return Reading(int(config["max_position_embeddings"]), config.get("bos_token_id"))


def is_ours(directory: Path) -> bool:
    """Whether the decoder computes it."""
    try:
        read_config(directory)
    except ModelError:
        return False
    return True


def refuse_unsafe(directory: Path) -> None:
    """Raises ModelError for a directory that holds no safetensors, or whose architecture is code that it brings."""
    config = read_json(directory / CONFIG_FILE)
    if "auto_map" in config:
        raise ModelError(
            f"{directory / CONFIG_FILE} asks for Python code that comes with the model; no such code is run",
            help="give a teacher whose architecture transformers has: Llama, Qwen2, Qwen3, a mixture of experts",
        )
    if not any(directory.glob("*.safetensors")):
        pickled = any(directory.glob("*.bin")) or any(directory.glob("*.pt"))
        held = "pickled weights, which can run code when they are loaded" if pickled else "no weights"
        raise ModelError(
            f"{directory} holds {held}",
            help="give one with safetensors; convert where you trust it: save_pretrained(..., safe_serialization=True)",
        )
