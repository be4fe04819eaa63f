"""The files that make weights a model somebody can talk to: tokenizer, roles of its tokens, chat template."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from albor.models.checkpoint import stored_weights
from albor.models.llama_config import read_config
from albor.runs.files import sha256_file

TOKENIZER = "tokenizer.json"
COMPANIONS = (TOKENIZER, "roles.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")


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
