"""A text with its tokens, and where it may be cut between two of them without splitting a character."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from tokenizers import Encoding

CONTINUATION_MASK, CONTINUATION = 0xC0, 0x80
"""A UTF-8 byte that is not the first of its character."""


class Encoded:
    """The ids of a text; cuts are numbered in tokens, from 0 (before the first) to ``len`` (after the last)."""

    def __init__(self, text: str, ids: list[int], places: NDArray[np.int64] | Encoding) -> None:
        """``places`` [len(ids)] is the number of UTF-8 bytes that each token stands for, or an encoding with offsets."""
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
        return self._text[first:last] if self._raw is None else self._raw[first:last].decode()

    @cached_property
    def _raw(self) -> bytes | None:
        """The text in the unit of the places; None when they are characters."""
        return None if isinstance(self._places, Encoding) else self._text.encode()

    @cached_property
    def _cuts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The cuts, and the place of each in bytes or characters."""
        if self._raw is None:
            assert isinstance(self._places, Encoding)
            offsets = np.array(self._places.offsets, dtype=np.int64)
            inner = np.flatnonzero(offsets[1:, 0] >= offsets[:-1, 1]) + 1
            places = np.concatenate([[0], offsets[inner, 0], [len(self._text)]])
        else:
            assert not isinstance(self._places, Encoding)
            starts = np.cumsum(self._places[:-1])
            first_bytes = np.frombuffer(self._raw, np.uint8)[starts]
            inner = np.flatnonzero(first_bytes & CONTINUATION_MASK != CONTINUATION) + 1
            places = np.concatenate([[0], starts[inner - 1], [len(self._raw)]])
        return np.concatenate([[0], inner, [len(self)]]), places
