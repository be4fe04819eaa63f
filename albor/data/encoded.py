"""A text with its tokens: where it may be cut between two of them, and which of them a part of it shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

from albor.data.errors import DataError

CONTINUATION_MASK, CONTINUATION = 0xC0, 0x80
"""A UTF-8 byte that is not the first of its character."""
_CODES = np.arange(256)
WHITE = np.isin(_CODES, list(b" \t\n\r"))
PRINTED = (_CODES > 0x20) & (_CODES < 0x7F)


class Encoded:
    """The ids of a text; cuts are numbered in tokens, from 0 (before the first) to ``len`` (after the last)."""

    def __init__(self, text: str, ids: list[int], places: NDArray[np.int64] | Encoding) -> None:
        """``places`` [len(ids)]: the UTF-8 bytes that each token stands for; or else an encoding with offsets."""
        if not isinstance(places, Encoding) and int(places.sum()) != len(text.encode()):
            raise DataError(
                "the tokenizer does not give back every byte of a text: it has no token for some",
                help="take a byte-level tokenizer that has all 256 bytes, or train one: tokenizer=bpe_32k",
            )
        self.ids = ids
        self._text = text
        self._places = places

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, start: int, limit: int) -> int | None:
        """The last cut in (start, limit], in tokens; None when there is none or ``start`` is not a cut itself."""
        if start == 0 and limit == len(self):
            return limit
        cuts, _ = self._cuts
        last = int(cuts[np.searchsorted(cuts, limit, side="right") - 1])
        return last if last > start and cuts[np.searchsorted(cuts, start)] == start else None

    def between(self, start: int, end: int) -> str:
        """The text from cut to cut. Neighbouring slices join without loss."""
        if start == 0 and end == len(self):
            return self._text
        cuts, places = self._cuts
        first, last = places[np.searchsorted(cuts, [start, end])].tolist()
        return self._text[first:last] if isinstance(self._places, Encoding) else self._raw[first:last].decode()

    def encode_parts(
        self, start: int, parts: Sequence[str], encode: Callable[[Sequence[str]], list[list[int]]]
    ) -> list[list[int]]:
        """The ids of ``parts``, texts that follow each other from the cut ``start`` on, each encoded alone.

        Their tokens are the whole text's but near the seams. White space after a printed character starts a new word
        for the tokenizer whatever stands before it: from the first such place in a part to the last, the ids are
        taken as they are; only what is left at its ends is encoded. Valid for GPT-2's way to split words.
        """
        first = int(self._starts[start])
        bounds = np.cumsum([first, *(len(part.encode()) for part in parts)]).tolist()
        loose: list[str] = []
        shared: list[list[int]] = []
        for begin, end in pairwise(bounds):
            left, right = self._seams(begin, end)
            loose += [self._raw[begin:left].decode(), self._raw[right:end].decode()]
            inner = np.searchsorted(self._starts, [left, right]).tolist()
            shared.append(self.ids[inner[0] : inner[1]])
        ends = encode(loose)
        return [[*ends[2 * n], *ids, *ends[2 * n + 1]] for n, ids in enumerate(shared)]

    def _seams(self, begin: int, end: int) -> tuple[int, int]:
        """The first and the last place in [begin, end] where a word starts in the whole text and in the part."""
        low, high = np.searchsorted(self._words, [begin + 1, end + 1]).tolist()
        if low == high:
            return end, end
        return (0 if begin == 0 else int(self._words[low])), int(self._words[high - 1])

    @cached_property
    def _raw(self) -> bytes:
        return self._text.encode()

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        """Where each token starts in the UTF-8 text, and its end."""
        assert not isinstance(self._places, Encoding)
        return np.concatenate([[0], np.cumsum(self._places)])

    @cached_property
    def _words(self) -> NDArray[np.int64]:
        """Places in the UTF-8 text with white space after and a printed character before them."""
        raw = np.frombuffer(self._raw, np.uint8)
        return np.flatnonzero(WHITE[raw[1:]] & PRINTED[raw[:-1]]) + 1

    @cached_property
    def _cuts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The cuts, and the place of each in bytes, or in characters when the tokens are not the text's bytes."""
        if isinstance(self._places, Encoding):
            offsets = np.array(self._places.offsets, dtype=np.int64)
            inner = np.flatnonzero(offsets[1:, 0] >= offsets[:-1, 1]) + 1
            places = np.concatenate([[0], offsets[inner, 0], [len(self._text)]])
        else:
            starts = self._starts[1:-1]
            first_bytes = np.frombuffer(self._raw, np.uint8)[starts]
            inner = np.flatnonzero(first_bytes & CONTINUATION_MASK != CONTINUATION) + 1
            places = np.concatenate([[0], starts[inner - 1], [len(self._raw)]])
        return np.concatenate([[0], inner, [len(self)]]), places
