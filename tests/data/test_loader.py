from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from albor.data.errors import DataError
from albor.data.loader import IGNORE, Batch, Batches, order, sequential
from albor.data.rows import Row, Rows, write

N, LENGTH, BATCH = 205, 16, 8


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    """Row i holds i, i+1, …; the number of tokens before the padding varies."""
    path = tmp_path_factory.mktemp("rows") / "train.parquet"
    write(path, map(row, range(N)), row_len=LENGTH, token_bytes=2)
    return Rows(path)


def row(index: int) -> Row:
    tokens = np.arange(index, index + LENGTH, dtype="<u2")
    filled = LENGTH - index % 5
    tokens[filled:] = 4
    return tokens, np.array([3, filled], dtype=np.int32)


def take(batches: Batches, count: int) -> list[Batch]:
    """``count`` batches, over as many epochs as that takes."""
    taken: list[Batch] = []
    while len(taken) < count:
        for batch in batches:
            taken.append(batch)
            if len(taken) == count:
                break
    return taken


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        np.array_equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True)
    )


@given(st.integers(0, 500), st.integers(0, 2**63), st.integers(0, 2**40))
def test_an_order_is_a_permutation_of_its_seed_and_epoch(n: int, seed: int, epoch: int) -> None:
    first = order(n, seed=seed, epoch=epoch)
    assert sorted(first) == list(range(n))
    np.testing.assert_array_equal(first, order(n, seed=seed, epoch=epoch))
    if n > 20:
        assert not np.array_equal(first, order(n, seed=seed + 1, epoch=epoch))
        assert not np.array_equal(first, order(n, seed=seed, epoch=epoch + 1))


def test_the_order_never_changes_between_versions() -> None:
    assert order(10, seed=42, epoch=0).tolist() == [6, 2, 5, 7, 0, 9, 4, 3, 8, 1]


def test_every_row_is_as_likely_in_every_place() -> None:
    places = np.array([np.argsort(order(64, seed=0, epoch=epoch)) for epoch in range(400)])
    assert abs(places.mean(axis=0) - 31.5).max() < 5 * 64 / np.sqrt(12 * 400)


def test_labels_are_the_next_tokens_and_padding_has_none(rows: Rows) -> None:
    for tokens, labels in sequential(rows, batch_size=7, seq_len=LENGTH):
        assert tokens.dtype == labels.dtype == np.int64
        for line, targets in zip(tokens, labels, strict=True):
            filled = LENGTH - line[0] % 5
            np.testing.assert_array_equal(targets[: filled - 1], line[1:filled])
            assert (targets[filled - 1 :] == IGNORE).all()


def test_a_row_cut_short_still_has_its_last_target(rows: Rows) -> None:
    tokens, labels = next(sequential(rows, batch_size=3, seq_len=10))
    assert tokens.shape == labels.shape == (3, 10)
    np.testing.assert_array_equal(labels, tokens + 1)


def test_sequential_reads_every_row_once(rows: Rows) -> None:
    assert [len(tokens) for tokens, _ in sequential(rows, batch_size=100, seq_len=LENGTH)] == [100, 100, 5]
    firsts = [int(line[0]) for tokens, _ in sequential(rows, batch_size=4, seq_len=LENGTH, limit=6) for line in tokens]
    assert firsts == list(range(6))


def test_an_epoch_is_whole_batches_of_different_rows(rows: Rows) -> None:
    batches = Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3)
    assert len(batches) == N // BATCH
    epochs = [[int(line[0]) for tokens, _ in batches for line in tokens] for _ in range(3)]
    for number, firsts in enumerate(epochs):
        assert firsts == order(N, seed=3, epoch=number)[: len(firsts)].tolist()
        assert len(firsts) == N // BATCH * BATCH


@pytest.mark.parametrize("world", [1, 2, 4, 8])
def test_the_global_batches_do_not_depend_on_the_world_size(rows: Rows, world: int) -> None:
    alone = take(Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3), 60)
    ranks = [
        take(Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3, rank=rank, world_size=world), 60)
        for rank in range(world)
    ]
    joined = [tuple(np.concatenate(part) for part in zip(*step, strict=True)) for step in zip(*ranks, strict=True)]
    assert same(alone, joined)


@given(st.integers(0, 60), st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]))
def test_resuming_anywhere_on_any_world_equals_going_on(rows: Rows, done: int, before: int, after: int) -> None:
    whole = take(Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3, world_size=after), done + 30)
    first = Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3, world_size=before)
    take(first, done)
    second = Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3, world_size=after)
    second.load_state_dict(first.state_dict())
    assert same(take(second, 30), whole[done:])


def test_a_position_of_something_else_is_refused(rows: Rows) -> None:
    batches = Batches(rows, batch_size=BATCH, seq_len=LENGTH, seed=3)
    for key in ("rows", "batch_size", "seed"):
        state = batches.state_dict()
        state[key] += 1
        with pytest.raises(DataError, match=key) as refused:
            batches.load_state_dict(state)
        assert refused.value.help


@pytest.mark.parametrize(
    ("batch_size", "seq_len", "world", "message"),
    [(N + 1, LENGTH, 1, "do not make one batch"), (BATCH, LENGTH + 1, 1, "longer than"), (9, LENGTH, 2, "divide")],
)
def test_what_cannot_be_batched_is_refused(rows: Rows, batch_size: int, seq_len: int, world: int, message: str) -> None:
    with pytest.raises(DataError, match=message) as refused:
        Batches(rows, batch_size=batch_size, seq_len=seq_len, seed=0, world_size=world)
    assert refused.value.help
