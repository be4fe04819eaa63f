"""ChatML: a conversation as tokens, and which of them are learnt; the same as a template for other programs.

    <|im_start|>user
    Say hello.<|im_end|>
    <|im_start|>assistant
    print("hello")<|im_end|>

Control tokens enter by id: a message that contains the letters of one stays text. White space at either end of a
message is dropped, so that what stands before an answer is tokenized as it is when a model is asked for one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from albor.data.errors import DataError
from albor.data.tokenizer import Codec

Role = Literal["system", "user", "assistant"]
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""``render`` in Jinja: the ``chat_template`` of a tokenizer_config.json, or a chat_template.jinja.

transformers and others tokenize what it gives as one text, so there a message with a control token's letters has that
token; all other conversations have the same ids."""


@dataclass(frozen=True, slots=True)
class Message:
    role: Role
    content: str


Conversation = tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Rendered:
    """The tokens of a conversation."""

    tokens: list[int]
    ends: list[int]
    """Where its segments end: in turn one that is only read and one that is learnt."""


def render(codec: Codec, messages: Sequence[Message], *, add_generation_prompt: bool = False) -> Rendered:
    """The tokens of ``messages``; the assistant's words and the ``<|im_end|>`` that closes them are learnt.

    ``add_generation_prompt`` opens an answer at the end. Raises DataError when the tokenizer has no chat tokens.
    """
    if codec.chat is None:
        raise DataError(
            "the tokenizer has no chat tokens (<|im_start|>, <|im_end|>)",
            help="take a tokenizer that albor trained, or one whose vocabulary has both as control tokens",
        )
    start, end = codec.chat.start, codec.chat.end
    texts = ["assistant\n", "\n"]
    for message in messages:
        content = message.content.strip()
        texts.append(content if message.role == "assistant" else f"{message.role}\n{content}")
    answer, newline, *contents = codec.encode_batch(texts)
    tokens: list[int] = []
    ends: list[int] = []
    for message, words in zip(messages, contents, strict=True):
        tokens.append(start)
        if message.role == "assistant":
            tokens += answer
            ends += (len(tokens), len(tokens) + len(words) + 1)
        tokens += (*words, end, *newline)
    if add_generation_prompt:
        tokens += (start, *answer)
    return Rendered(tokens, [*ends, len(tokens)])


def learnt(ends: Sequence[int] | NDArray[np.int32], length: int) -> NDArray[np.bool_]:
    """Whether each of ``length`` tokens is learnt: those of every second segment are."""
    mask = np.zeros(length, dtype=bool)
    for start, end in zip(ends[:-1:2], ends[1::2], strict=False):
        mask[start:end] = True
    return mask
