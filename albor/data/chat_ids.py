"""The control tokens of ChatML in a vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from albor.config.schema.tokenizer import SPECIAL_TOKENS

START, END = SPECIAL_TOKENS[7:9]
"""What opens and closes a message; Qwen's models have them too."""


@dataclass(frozen=True, slots=True)
class ChatIds:
    """Token ids of what opens and closes a message."""

    start: int
    end: int


def find(vocabulary: Mapping[str, int], encode: Callable[[str], Sequence[int]]) -> ChatIds | None:
    """The ids of a tokenizer that has both tokens, and that does not read either in a text."""
    if START not in vocabulary or END not in vocabulary:
        return None
    ids = ChatIds(vocabulary[START], vocabulary[END])
    return None if ids.start in encode(START) or ids.end in encode(END) else ids
