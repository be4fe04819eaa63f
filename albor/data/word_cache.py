"""Encoding by words: Python source repeats itself, and what a word is made of need be worked out once.

A byte-level BPE never joins what its pre-tokenizer has split, so the ids of a text are those of its words, one after
the other. Splitting with `re` and looking words up is three times as fast as the tokenizer's own way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import chain

WORDS = re.compile(
    r"[0-9]|'(?:s|t|re|ve|m|ll|d)| ?[A-Za-z]+| ?[^\sA-Za-z0-9]+|\s+(?![^\s0-9])|\s+",
    re.ASCII,
)
"""Single digits, then GPT-2's expression, for ASCII: white space before a digit ends a word of its own."""
LINES = re.compile(r"(?<=[!-~])(?=\n)")
"""Where a word starts whatever stands around it: a line end after a printed ASCII character."""
KEPT_WORDS = 300_000
"""Words remembered; then they are forgotten and learned anew. About 100 MB."""
LONGEST = 48
"""Characters of a word worth remembering."""

Encode = Callable[[Sequence[str]], list[list[int]]]


class WordCache:
    """As the ``encode`` it is given, for a byte-level BPE that splits single digits and then by GPT-2's expression."""

    def __init__(self, encode: Encode) -> None:
        self._encode = encode
        self._known: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of every text."""
        if len(self._known) > KEPT_WORDS:
            self._known.clear()
        split = [_words(text) for text in texts]
        new = [word for word in set(chain.from_iterable(split)) if word not in self._known]
        self._known.update(zip(new, self._encode(new), strict=True))
        ids = [list(chain.from_iterable(map(self._known.__getitem__, words))) for words in split]
        for word in new:
            if len(word) > LONGEST:
                del self._known[word]
        return ids


def _words(text: str) -> list[str]:
    """Parts that the tokenizer splits at as well. What is not ASCII stays as long as its line."""
    if text.isascii():
        return WORDS.findall(text)
    lines = LINES.split(text)
    return list(chain.from_iterable(WORDS.findall(line) if line.isascii() else [line] for line in lines))
