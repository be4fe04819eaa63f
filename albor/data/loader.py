"""Batches from rows: one global order for any number of ranks, resumable at any batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

from albor.data.errors import DataError
from albor.data.rows import Rows

IGNORE = -100
"""The label of a position that has no target."""

Batch = tuple[NDArray[Any], ...]
"""Tokens and labels, each [micro_batch, seq_len]; a label is the row's next token where that is learnt, or IGNORE. Then
what is stored beside the rows."""


class Beside(Protocol):
    """What is stored of each row besides its tokens: a teacher's probabilities."""

    def __len__(self) -> int: ...

    def read(self, indices: NDArray[np.int64], seq_len: int) -> tuple[NDArray[Any], ...]:
        """Of the first ``seq_len`` tokens of some rows."""


class Position(TypedDict):
    """Where a run of batches stands, and what it is a position in."""

    dataset: str
    seed: int
    epoch: int
    batches: int
    """Global batches consumed in this epoch."""
    rows: int
    batch_size: int


def order(n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The permutation of ``n`` rows in one epoch: argsort of splitmix64 keys, so any part can be recomputed alone."""
    state = _mix(_mix(_words(seed)) ^ _words(epoch))
    keys = _mix(state + np.arange(n, dtype=np.uint64) * np.uint64(_GOLDEN))
    return np.argsort(keys, kind="stable")


def rows_of(n: int, *, batch_size: int, seed: int, index: int) -> tuple[int, int, NDArray[np.int64]]:
    """Epoch, batch of the epoch and row numbers of global batch ``index`` (from 0) of a run over ``n`` rows."""
    epoch, batch = divmod(index, n // batch_size)
    return epoch, batch, order(n, seed=seed, epoch=epoch)[batch * batch_size : (batch + 1) * batch_size]


class Batches:
    """This rank's part of every global batch.

    One iteration is what is left of the current epoch; the next iteration is the next epoch, in a new order. An epoch
    is ``len(rows) // batch_size`` batches; the rows left over sit it out. Batch t takes the rows
    ``order[t·batch_size:(t+1)·batch_size]`` and rank r its r-th part, so the global sequence is the same for any world
    size.
    """

    def __init__(
        self,
        rows: Rows,
        *,
        batch_size: int,
        seq_len: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        dataset: str = "",
        beside: Beside | None = None,
    ) -> None:
        """``batch_size`` is global, in rows; ``seq_len`` tokens are cut from the start of each row; ``dataset`` is the
        digest of the files that the rows lie in; ``beside`` is stored of the same rows.

        Raises:
            DataError: there are fewer rows than a batch, they are shorter than ``seq_len``, or ``world_size`` does not
                divide ``batch_size``.
        """
        _check_length(rows, seq_len)
        if len(rows) < batch_size:
            raise DataError(
                f"{len(rows)} training rows do not make one batch of {batch_size}",
                help="lower trainer.micro_batch_size or the number of devices, or build a larger corpus",
            )
        if batch_size % world_size:
            raise DataError(
                f"a global batch of {batch_size} rows does not divide among {world_size} ranks",
                help="make it trainer.micro_batch_size times the number of ranks",
            )
        self.rows, self.batch_size, self.seq_len, self.seed, self.dataset = rows, batch_size, seq_len, seed, dataset
        self.beside = beside
        self._mine = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self._epoch = 0
        self._batches = 0

    def __len__(self) -> int:
        """Batches of a whole epoch."""
        return len(self.rows) // self.batch_size

    def __iter__(self) -> Iterator[Batch]:
        if self._batches == len(self):
            self._epoch, self._batches = self._epoch + 1, 0
        permutation = order(len(self.rows), seed=self.seed, epoch=self._epoch)
        while self._batches < len(self):
            start = self._batches * self.batch_size
            mine = permutation[start : start + self.batch_size][self._mine]
            batch = _cut(self.rows, mine, self.seq_len)
            if self.beside is not None:
                batch = (*batch, *self.beside.read(mine, self.seq_len))
            # Counted before it is handed out: a state taken after the step does not repeat the batch.
            self._batches += 1
            yield batch

    def state_dict(self) -> Position:
        """The position after the last batch handed out."""
        return Position(
            dataset=self.dataset,
            seed=self.seed,
            epoch=self._epoch,
            batches=self._batches,
            rows=len(self.rows),
            batch_size=self.batch_size,
        )

    def load_state_dict(self, state: Position) -> None:
        """Continue at ``state``, also with another number of ranks; takes the same time anywhere.

        Raises:
            DataError: the state belongs to other rows, another batch size or another seed.
        """
        here = self.state_dict()
        for key in ("dataset", "rows", "batch_size", "seed"):
            if state[key] != here[key]:
                raise DataError(
                    f"the saved position has {key} {state[key]}, this run has {here[key]}",
                    help="resume with the same dataset, global batch size and seed, or start a new run",
                )
        self._epoch, self._batches = state["epoch"], state["batches"]


def sequential(rows: Rows, *, batch_size: int, seq_len: int, limit: int | None = None) -> Iterator[Batch]:
    """The first ``limit`` rows (None: all) in stored order; the last batch may be smaller.

    Raises:
        DataError: the rows are shorter than ``seq_len``.
    """
    _check_length(rows, seq_len)
    stop = len(rows) if limit is None else min(limit, len(rows))
    for start in range(0, stop, batch_size):
        yield _cut(rows, np.arange(start, min(start + batch_size, stop)), seq_len)


def _check_length(rows: Rows, seq_len: int) -> None:
    if seq_len > rows.row_len:
        raise DataError(
            f"data.seq_len={seq_len} is longer than the packed rows of {rows.row_len} tokens",
            help=f"lower data.seq_len to {rows.row_len}, or pack again with a longer data.row_len",
        )


def _cut(rows: Rows, indices: NDArray[np.int64], seq_len: int) -> Batch:
    """The last position's target is the next token of the row where there is one: a row cut short has it."""
    stored, ends = rows.read(indices)
    tokens = stored[:, :seq_len].astype(np.int64)
    labels = np.full_like(tokens, IGNORE)
    targets = stored[:, 1 : seq_len + 1]
    np.copyto(labels[:, : targets.shape[1]], targets, where=rows.learnt(ends)[:, 1 : seq_len + 1])
    return tokens, labels


_GOLDEN = 0x9E3779B97F4A7C15


def _words(number: int) -> NDArray[np.uint64]:
    """``number`` modulo 2⁶⁴; an array, because numpy wraps arrays silently and warns about scalars."""
    return np.array([number & (1 << 64) - 1], dtype=np.uint64)


def _mix(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One step of splitmix64 from each state (Steele, Lea, Flood 2014)."""
    z = state + np.uint64(_GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
