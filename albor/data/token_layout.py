"""What a tokenizer's file says of how it splits and spells text."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

Layout = dict[str, Any]
"""A ``tokenizer.json``."""


def text_only(layout: Layout) -> tuple[Tokenizer, Layout]:
    """The tokenizer of ``layout`` as it reads control tokens in text as text, and neither adds, pads nor cuts anything;
    and its own layout.

    ``encode_special_tokens`` spares only added tokens marked special, and some tokenizers leave their sentinels
    unmarked. So all are marked, but for runs of whitespace, which are ordinary text in the tokenizers that add them.
    """
    added = [
        {**token, "special": token["special"] or not token["content"].isspace()} for token in layout["added_tokens"]
    ]
    # A post-processor would move the offsets off the whitespace before a word.
    layout = {**layout, "added_tokens": added, "post_processor": None, "padding": None, "truncation": None}
    tokenizer = Tokenizer.from_str(json.dumps(layout))
    tokenizer.encode_special_tokens = True
    return tokenizer, layout


def token_bytes(tokenizer: Tokenizer, layout: Layout, vocab_size: int) -> NDArray[np.int64] | None:
    """The number of bytes each id stands for [vocab_size]; None when tokens are not the text's own bytes.

    A byte-level vocabulary spells every byte as one character, and the tokens of a text are its bytes without gap.
    """
    if layout["normalizer"] is not None or not is_byte_level(layout):
        return None
    sizes = np.zeros(vocab_size, dtype=np.int64)
    for token, number in tokenizer.get_vocab(with_added_tokens=False).items():
        sizes[number] = len(token)
    for token in layout["added_tokens"]:
        sizes[token["id"]] = len(token["content"].encode())
    return sizes


def spellings(tokenizer: Tokenizer, layout: Layout, vocab_size: int) -> list[bytes] | None:
    """The bytes that each id is decoded to, control tokens to none; None where a text is not its tokens' bytes in a
    row."""
    if layout["decoder"] is None or layout["decoder"]["type"] != "ByteLevel":
        return None
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    # GPT-2's alphabet: a byte that is no visible character is written as one from 256 on.
    alphabet = {chr(byte): byte for byte in visible} | {chr(256 + n): byte for n, byte in enumerate(hidden)}
    found = [b""] * vocab_size
    for token, number in tokenizer.get_vocab(with_added_tokens=True).items():
        known = all(letter in alphabet for letter in token)
        found[number] = bytes(alphabet[letter] for letter in token) if known else token.encode()
    for token in layout["added_tokens"]:
        if token["special"]:
            found[token["id"]] = b""
    return found


def is_byte_level(layout: Layout) -> bool:
    """Whether tokens spell the bytes of a text, as a normalizer left it."""
    byte_level = [step for step in _pre_tokenizers(layout) if step["type"] == "ByteLevel"]
    return bool(byte_level) and not any(step["add_prefix_space"] for step in byte_level)


def splits_by_words(layout: Layout) -> bool:
    """Whether a text's ids are those of its words, split as ``train_bpe`` lays it out."""
    steps = _pre_tokenizers(layout)
    return (
        layout["normalizer"] is None
        and layout["model"]["type"] == "BPE"
        and not layout["model"]["dropout"]
        and all(token["special"] for token in layout["added_tokens"])
        and [step["type"] for step in steps] == ["Digits", "ByteLevel"]
        and steps[0]["individual_digits"]
        and steps[1]["use_regex"]
        and not steps[1]["add_prefix_space"]
    )


def _pre_tokenizers(layout: Layout) -> list[dict[str, Any]]:
    """The steps that split a text into words."""
    outer = layout["pre_tokenizer"]
    if outer is None:
        return []
    return list(outer["pretokenizers"]) if outer["type"] == "Sequence" else [outer]
