"""The files that make weights a model somebody can talk to: tokenizer, roles of its tokens, chat template."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from albor.models.checkpoint import stored_weights
from albor.models.llama_config import read_config, read_json
from albor.runs.files import sha256_file

TOKENIZER = "tokenizer.json"
ROLES = "roles.json"
TOKENIZER_SETTINGS, TEMPLATE, GENERATION = "tokenizer_config.json", "chat_template.jinja", "generation_config.json"
END_OF_MESSAGE = "<|im_end|>"
COMPANIONS = (TOKENIZER, ROLES, TOKENIZER_SETTINGS, TEMPLATE, GENERATION)


def copy_companions(source: Path, out: Path) -> None:
    """Those of ``source`` that there are."""
    for name in COMPANIONS:
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)


def describe(directory: Path) -> dict[str, Any]:
    """What a run says of the model that it made. Raises ModelError when it is not whole."""
    model = read_config(directory)
    stored_weights(directory, model)
    return {
        "parameters": model.num_parameters,
        "vocab_size": model.vocab_size,
        "tokenizer_sha256": sha256_file(directory / TOKENIZER),
    }


def token_ids(layout: Mapping[str, Any]) -> dict[str, int]:
    """Every token of a tokenizer.json, control tokens too, and its id."""
    words = layout["model"]["vocab"]
    if isinstance(words, list):  # Unigram's, with their scores
        words = {word: number for number, (word, _) in enumerate(words)}
    return {**words, **{token["content"]: token["id"] for token in layout.get("added_tokens") or []}}


def end_of_message(directory: Path, ids: Mapping[str, int] | None = None) -> list[int]:
    """The id that ends a message, where the model has a template for them; ``ids`` are its tokens', if they are
    known."""
    if chat_template(directory) is None or not (directory / TOKENIZER).is_file():
        return []
    ids = token_ids(read_json(directory / TOKENIZER)) if ids is None else ids
    return [ids[END_OF_MESSAGE]] if END_OF_MESSAGE in ids else []


def chat_template(directory: Path) -> str | None:
    """The directory's Jinja template for conversations, if it has one."""
    if (directory / TEMPLATE).is_file():
        return (directory / TEMPLATE).read_text(encoding="utf-8")
    config = directory / TOKENIZER_SETTINGS
    found = read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(found, list):
        found = next((entry.get("template") for entry in found if entry.get("name") == "default"), None)
    return found or None
