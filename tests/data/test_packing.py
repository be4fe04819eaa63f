from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.packing import best_fit

ROW = 32


def naive(lengths: list[int], row_len: int) -> list[int]:
    """Best-fit-decreasing by looking at every row: what each has left, sorted."""
    left: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [(room, row) for row, room in enumerate(left) if room >= length]
        if fitting:
            left[min(fitting)[1]] -= length
        else:
            left.append(row_len - length)
    return sorted(left)


@given(st.lists(st.integers(1, ROW), max_size=200))
def test_every_piece_is_in_one_row_and_rows_are_those_of_the_naive_algorithm(lengths: list[int]) -> None:
    packing = best_fit(np.array(lengths, dtype=np.int64), ROW)
    rows = [packing.row(index).tolist() for index in range(len(packing))]
    assert sorted(piece for row in rows for piece in row) == list(range(len(lengths)))
    assert sorted(ROW - sum(lengths[piece] for piece in row) for row in rows) == naive(lengths, ROW)
    assert packing.fill == (pytest.approx(sum(lengths) / (len(rows) * ROW)) if rows else 0)


@pytest.mark.parametrize("lengths", [[0, 3], [ROW + 1]])
def test_pieces_that_fit_no_row_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        best_fit(np.array(lengths), ROW)


def test_a_hundred_thousand_pieces_take_a_moment() -> None:
    lengths = np.random.default_rng(0).integers(1, 2049, 100_000)
    start = time.perf_counter()
    packing = best_fit(lengths, 2048)
    assert time.perf_counter() - start < 5
    assert packing.fill > 0.99
