"""Best-fit-decreasing bin packing: pieces of tokens into rows of one length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Packing:
    """Which pieces share a row."""

    pieces: NDArray[np.int64]
    """Indices of the pieces, row after row; every piece once."""
    starts: NDArray[np.int64]
    """Where each row starts in ``pieces``, and their number at the end: one more than there are rows."""
    fill: float
    """Share of the rows' tokens that is not padding; 0 without rows."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    def row(self, index: int) -> NDArray[np.int64]:
        """The pieces of one row, longest first."""
        return self.pieces[self.starts[index] : self.starts[index + 1]]


def best_fit(lengths: NDArray[np.int64], row_len: int) -> Packing:
    """Pack pieces of 1 to ``row_len`` tokens, the longest first, each into the row where it leaves the least room.

    Time is O(n log n + n · row_len / 64): rows wait in buckets by the room they have left, and a bit set of the
    buckets in use finds the tightest one.

    Raises:
        ValueError: a piece is empty or longer than a row.
    """
    if len(lengths) and not 0 < lengths.min() <= lengths.max() <= row_len:
        raise ValueError(f"pieces of {lengths.min()} to {lengths.max()} tokens do not fit rows of {row_len}")
    buckets: list[list[int]] = [[] for _ in range(row_len + 1)]
    in_use = 0
    rows = 0
    row_of = np.empty(len(lengths), dtype=np.int64)
    descending = np.argsort(-lengths, kind="stable")
    for piece, length in zip(descending.tolist(), lengths[descending].tolist(), strict=True):
        fitting = in_use >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = buckets[room].pop()
            if not buckets[room]:
                in_use ^= 1 << room
        else:
            room, row = row_len, rows
            rows += 1
        row_of[piece] = row
        if left := room - length:
            buckets[left].append(row)
            in_use |= 1 << left
    counts = np.bincount(row_of, minlength=rows)
    # Stable over the descending order, so a row's pieces stand longest first.
    pieces = descending[np.argsort(row_of[descending], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(counts)])
    return Packing(pieces, starts, float(lengths.sum() / (rows * row_len)) if rows else 0.0)
