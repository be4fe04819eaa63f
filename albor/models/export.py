"""A model's directory as others expect it: weights in half precision, and all that transformers wants to be told."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from albor.config.schema.model import Model
from albor.models import companions
from albor.models.checkpoint import WEIGHTS_FILE, stored_weights
from albor.models.companions import chat_template, token_ids
from albor.models.errors import ModelError
from albor.models.llama_config import CONFIG_FILE, config_text, read_config, read_eos, read_json
from albor.models.tensor_stream import StoredTensor, write_tensors
from albor.runs.files import write_text

"""What ends an answer of a model that has a chat template."""


def export_model(
    directory: Path,
    out: Path,
    *,
    dtype: torch.dtype,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Writes a model's directory, ours or one of Hugging Face, as one that ``from_pretrained`` loads; returns the
    number of its tensors.

    Weights are rounded to ``dtype``; one tensor is in memory at a time. Raises ModelError.
    """
    model = read_config(directory)
    stored = stored_weights(directory, model)
    refuse_mute(directory)
    ids = token_ids(read_json(directory / companions.TOKENIZER))
    ends = end_ids(directory, ids)
    pad = pad_id(directory, ids, otherwise=ends[0])
    write_weights(stored, out / WEIGHTS_FILE, dtype, progress)
    write_text(out / CONFIG_FILE, config_text(model, dtype=dtype, eos_token_id=ends[0], pad_token_id=pad))
    companions.copy_companions(directory, out)
    names = {number: token for token, number in ids.items()}
    template = chat_template(directory)
    settings = tokenizer_settings(model, eos=names[ends[0]], pad=names[pad], template=template)
    write_text(out / companions.TOKENIZER_SETTINGS, as_json(settings))
    write_text(out / companions.GENERATION, as_json(generation_settings(ends, pad)))
    if template:
        write_text(out / companions.TEMPLATE, template)
    return len(stored)


def refuse_mute(directory: Path) -> None:
    """Raises ModelError when a model has no tokenizer beside it."""
    if not (directory / companions.TOKENIZER).is_file():
        raise ModelError(
            f"{directory} has no {companions.TOKENIZER}: nobody could talk to the model",
            help="put the tokenizer that it was trained with into its directory",
        )


def write_weights(
    stored: Mapping[str, StoredTensor], path: Path, dtype: torch.dtype, progress: Callable[[int, int], None]
) -> None:
    """One file of finite weights. Raises ModelError."""
    done = iter(range(len(stored)))

    def make(name: str) -> Tensor:
        progress(next(done), len(stored))
        return finite(name, stored[name].read()).to(dtype)

    write_tensors(path, {name: (dtype, tensor.shape) for name, tensor in stored.items()}, make)
    progress(len(stored), len(stored))


def finite(name: str, tensor: Tensor) -> Tensor:
    """The tensor. Raises ModelError when it holds a NaN or an infinity."""
    if not bool(tensor.isfinite().all()):
        raise ModelError(f"{name} holds numbers that are not finite", help="take an earlier checkpoint of the model")
    return tensor


def end_ids(directory: Path, ids: Mapping[str, int]) -> list[int]:
    """The ids that end what a model writes: the end of text first, then that of a message where it has a template.

    Raises ModelError when nothing says so.
    """
    ends = sorted(read_eos(directory))
    if (directory / companions.ROLES).is_file():
        ends = [ids[read_json(directory / companions.ROLES)["eos"]], *ends]
    if not ends:
        raise ModelError(
            f"{directory} does not say which token ends a text",
            help=f"add eos_token_id, an id of {companions.TOKENIZER}'s vocabulary, to {CONFIG_FILE}",
        )
    return list(dict.fromkeys([*ends, *companions.end_of_message(directory, ids)]))


def pad_id(directory: Path, ids: Mapping[str, int], *, otherwise: int) -> int:
    """What rows are padded with."""
    if (directory / companions.ROLES).is_file():
        return ids[read_json(directory / companions.ROLES)["pad"]]
    found = read_json(directory / CONFIG_FILE).get("pad_token_id")
    return otherwise if found is None else int(found)


def tokenizer_settings(model: Model, *, eos: str, pad: str, template: str | None) -> dict[str, Any]:
    """The content of tokenizer_config.json: nothing is added to a text, and nothing tidied in what is decoded."""
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.max_position_embeddings,
        "bos_token": None,
        "eos_token": eos,
        "pad_token": pad,
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
        **({"chat_template": template} if template else {}),
    }


def generation_settings(ends: list[int], pad: int) -> dict[str, Any]:
    """The content of generation_config.json. How to sample is the reader's choice: greedy unless asked otherwise."""
    return {
        "bos_token_id": None,
        "eos_token_id": ends if len(ends) > 1 else ends[0],
        "pad_token_id": pad,
        "do_sample": False,
    }


def as_json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"
