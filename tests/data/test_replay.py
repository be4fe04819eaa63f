"""Rows of new text among old ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.parquet import shards
from albor.data.replay import counts, mix
from albor.data.rows import Rows, write

LENGTH = 32


@given(
    new=st.floats(1, 2048), old=st.floats(1, 2048), of_new=st.integers(1, 10_000), of_old=st.integers(1, 10_000),
    share=st.floats(0.01, 1),
)  # fmt: skip
def test_the_share_is_kept_and_one_kind_taken_whole(
    new: float, old: float, of_new: int, of_old: int, share: float
) -> None:
    rows_new, rows_old = counts(new, old, of_new=of_new, of_old=of_old, share=share)
    assert 1 <= rows_new <= of_new and 0 <= rows_old <= of_old
    assert rows_new == of_new or rows_old == of_old
    tokens = rows_new * new + rows_old * old
    assert abs(rows_new * new - share * tokens) <= max(new, old) + 1e-6 * tokens, "within a row"


def rows(path: Path, count: int, first: int, filled: int) -> Rows:
    def made() -> object:
        for index in range(count):
            yield np.full(LENGTH, first + index, dtype="<u2"), np.array([1, filled], dtype=np.int32)

    write(path, made(), row_len=LENGTH, token_bytes=2)  # type: ignore[arg-type]
    return Rows(path)


@pytest.mark.parametrize(("share", "taken"), [(0.1, (50, 225)), (0.5, (50, 25)), (1.0, (50, 0))])
def test_a_mix(share: float, taken: tuple[int, int], tmp_path: Path) -> None:
    new, old = rows(tmp_path / "a", 50, 0, 16), rows(tmp_path / "b", 1000, 1000, 32)
    facts = mix(new, old, share=share, seed=1, out=tmp_path)
    made = Rows(shards(tmp_path, "train"))
    tokens, ends = made.read(np.arange(len(made)))
    first = tokens[:, 0].tolist()
    assert len(set(first)) == len(first) == facts["num_sequences"] == sum(taken)
    assert sum(value < 1000 for value in first) == taken[0]
    assert facts["text_share"] == pytest.approx(share) and facts["text_tokens"] == 16 * taken[0]
    assert facts["tokens"] == sum(int(row[-1]) for row in ends)
    if taken[1]:
        assert max(np.diff(np.flatnonzero(tokens[:, 0] < 1000))) < len(made) / 2, "in no order"


def test_too_little_to_replay_takes_part_of_the_new(tmp_path: Path) -> None:
    new, old = rows(tmp_path / "a", 500, 0, 32), rows(tmp_path / "b", 90, 1000, 32)
    facts = mix(new, old, share=0.1, seed=1, out=tmp_path)
    assert facts["num_sequences"] == 100 and facts["text_share"] == pytest.approx(0.1)


def test_the_same_seed_mixes_the_same(tmp_path: Path) -> None:
    new, old = rows(tmp_path / "a", 20, 0, 16), rows(tmp_path / "b", 100, 1000, 32)
    files = []
    for number, seed in enumerate((1, 1, 2)):
        (tmp_path / str(number)).mkdir()
        mix(new, old, share=0.2, seed=seed, out=tmp_path / str(number))
        files.append([path.read_bytes() for path in shards(tmp_path / str(number), "train")])
    assert files[0] == files[1] != files[2]
