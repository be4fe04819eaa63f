"""A directory's tokenizer in GGUF's terms: only where llama.cpp is known to split and merge text the same way."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from albor.config.schema.tokenizer import FIM_NAMES
from albor.models.companions import chat_template, token_ids
from albor.models.errors import ModelError
from albor.models.llama_config import read_eos, read_json

REPOSITORY_NAMES = ("<|repo_name|>", "<repo_name>", "<reponame>")
FILE_NAMES = ("<|file_sep|>", "<file_sep>")
"""What models call the tokens that stand before a repository's name and before a file."""


class Role(IntEnum):
    """llama.cpp's token types: control tokens are never read in a text, user-defined ones always."""

    NORMAL = 1
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    pre: str
    """How llama.cpp is to split text: its ``tokenizer.ggml.pre``."""
    tokens: list[str]
    roles: list[Role]
    merges: list[str]
    ends: tuple[int, ...]
    """Ids that end a text, the first of them first."""
    pad: int
    fim: dict[str, int]
    """Ids by GGUF's names: pre, suf, mid, pad, rep, sep; empty without fill-in-the-middle tokens."""
    chat_template: str | None


def read_vocabulary(directory: Path, size: int) -> Vocabulary:
    """The vocabulary of a model's directory, filled with unused tokens up to ``size``. Raises ModelError."""
    layout = read_json(directory / "tokenizer.json")
    model, added = layout.get("model") or {}, layout.get("added_tokens") or []
    pre = _splitting(directory, layout)
    ids = token_ids(layout)
    if ids and max(ids.values()) >= size:
        raise ModelError(
            f"{directory} has a tokenizer of {max(ids.values()) + 1} tokens and a model of {size}",
            help="put the tokenizer that the model was trained with into its directory",
        )
    tokens = [f"<|unused_{number}|>" for number in range(size)]
    roles = [Role.UNUSED] * size
    for token, number in model["vocab"].items():
        tokens[number], roles[number] = token, Role.NORMAL
    for token in added:
        # As the codec reads them: runs of whitespace are text, all others are control tokens.
        text = not token["special"] and token["content"].isspace()
        tokens[token["id"]], roles[token["id"]] = token["content"], Role.USER_DEFINED if text else Role.CONTROL
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    ends, pad, fim = _roles(directory, ids)
    return Vocabulary(
        pre=pre,
        tokens=tokens,
        roles=roles,
        merges=merges,
        ends=ends,
        pad=pad,
        fim=fim,
        chat_template=chat_template(directory),
    )


def _splitting(directory: Path, layout: dict[str, Any]) -> str:
    """llama.cpp's name for how a ``tokenizer.json`` splits text. Raises ModelError.

    Shown to be alike, character by character, by tests/inference/test_gguf_engine.py; digits that are new in Unicode 16
    are not.
    """
    outer, model = layout.get("pre_tokenizer") or {}, layout.get("model") or {}
    steps = outer["pretokenizers"] if outer.get("type") == "Sequence" else [outer]
    digits = [step for step in steps if step.get("type") == "Digits" and step.get("individual_digits")]
    words = [
        step
        for step in steps
        if step.get("type") == "ByteLevel" and step.get("use_regex", True) and not step.get("add_prefix_space")
    ]
    plain_merges = model.get("type") == "BPE" and not any(
        model.get(key)
        for key in ("dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback", "ignore_merges")
    )
    plain_text = layout.get("normalizer") is None and not any(
        token.get(key) for token in layout.get("added_tokens") or [] for key in ("lstrip", "rstrip", "single_word")
    )
    if plain_merges and plain_text and words and steps == [*digits, *words]:
        return "starcoder" if digits else "gpt-2"
    raise ModelError(
        f"{directory / 'tokenizer.json'} splits text in a way that llama.cpp is not known to follow",
        help="export a model with a byte-level BPE as albor trains it: digits apart or not, no normalizer",
    )


def _roles(directory: Path, ids: dict[str, int]) -> tuple[tuple[int, ...], int, dict[str, int]]:
    """The ids that end a text, the padding, and those for filling in: by roles.json, or as in Codec.of_model."""
    ends = sorted(read_eos(directory))
    pad: int | None
    if (directory / "roles.json").is_file():
        roles = read_json(directory / "roles.json")
        end, pad, names = ids.get(roles["eos"]), ids.get(roles["pad"]), roles["fim"]
    else:
        end = pad = ends[0] if ends else None
        names = next((names for names in FIM_NAMES if all(token in ids for token in names)), None)
    if end is None or pad is None:
        raise ModelError(
            f"{directory} does not say which token ends a text",
            help="add eos_token_id, an id of tokenizer.json's vocabulary, to config.json",
        )
    fim = {}
    if names:
        fim = {key: ids[name] for key, name in zip(("pre", "suf", "mid"), names, strict=True)} | {"pad": pad}
        for key, known in (("rep", REPOSITORY_NAMES), ("sep", FILE_NAMES)):
            if number := next((ids[name] for name in known if name in ids), None):
                fim[key] = number
    return (end, *(other for other in ends if other != end)), pad, fim
