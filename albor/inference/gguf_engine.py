"""The engine that runs GGUF files by llama.cpp, on the CPU and in this process."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from albor.inference.engine import Ids, Score
from albor.inference.llama_cpp import BATCH, MOST_SEQUENCES, LlamaContext, LlamaModel
from albor.inference.slot_engine import SlotEngine
from albor.inference.slots import Slots
from albor.models.errors import ModelError
from albor.models.gguf import ENDS
from albor.models.loss import IGNORED


class LlamaSlots(Slots):
    """Slots whose keys and values llama.cpp keeps, each slot's as a sequence of its own."""

    def __init__(self, context: LlamaContext, count: int, capacity: int, eos: frozenset[int]) -> None:
        super().__init__(torch.device("cpu"), count, capacity, eos)
        self._context = context
        self._sequences = np.arange(count)
        """Which of llama.cpp's sequences is a slot's: they change places by their numbers."""
        self._held = [0] * count
        """Positions that are in each slot's. What is beyond a row's own is cut off before the row goes on."""

    def read(self, rows: Sequence[Ids], slots: Sequence[int], starts: Sequence[int]) -> None:
        for _ in self.logits(rows, slots, starts, [[False] * len(row) for row in rows]):
            pass

    def copy(self, source: int, target: int, span: int) -> None:
        self._context.copy(int(self._sequences[source]), int(self._sequences[target]))
        self._held[target] = self._held[source]

    def exchange(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        for source, target in zip(sources, targets, strict=True):
            for state in (self._sequences, self._held):
                state[source], state[target] = state[target], state[source]
        self._move(sources, targets)

    def _cut(self, slot: int, length: int) -> None:
        if self._held[slot] > length:
            self._context.cut(int(self._sequences[slot]), length)
        self._held[slot] = length

    def step(self, live: int, span: int, ranked: bool) -> None:
        assert self.host is not None
        tokens, lengths = self.host.tokens, self.host.lengths
        for slot, length in enumerate(lengths[:live].tolist()):
            self._cut(slot, length)
            self._held[slot] += 1
        logits = self._context.decode(tokens[:live], lengths[:live], self._sequences[:live], 1)
        self.host.take(logits, ranked)

    def logits(
        self, rows: Sequence[Ids], slots: Sequence[int], starts: Sequence[int], wanted: Sequence[Sequence[bool]]
    ) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Reads rows into slots from the positions ``starts`` on; by parts, the indices [W] of the rows to whom the
        tokens belong behind which logits are wanted, and those logits [W, V], float32."""
        lengths = [len(row) for row in rows]
        for slot, start, length in zip(slots, starts, lengths, strict=True):
            self._cut(slot, start)
            self._held[slot] += length
        tokens = np.concatenate([np.asarray(row, np.int32) for row in rows])
        places = np.concatenate([np.arange(start, start + n) for start, n in zip(starts, lengths, strict=True)])
        owners = np.repeat(np.arange(len(rows)), lengths)
        sequences = self._sequences[np.asarray(slots)[owners]]
        asked = np.concatenate([np.asarray(row, bool) for row in wanted])
        for start in range(0, len(tokens), BATCH):
            part = slice(start, start + BATCH)
            found = self._context.decode(tokens[part], places[part], sequences[part], asked[part])
            yield owners[part][asked[part]], torch.from_numpy(found)


class GgufEngine(SlotEngine[LlamaSlots]):
    """Continuous batching over llama.cpp's sequences, and scoring.

    The same call gives the same answers. Beside other requests llama.cpp rounds otherwise, as it does in other batch
    sizes: float32 files answer alike all the same, but where many tokens are nearly as likely, continuations drawn from
    a float16 or a quantised file may part (13 and 3 of 40 with 40 tokens each; at temperature 0, 1 and none).
    """

    def __init__(self, path: Path, *, batch_size: int | None = None, threads: int | None = None) -> None:
        """Maps a file into memory. ``threads`` is best the number of physical cores; null takes what OMP_NUM_THREADS
        says, or all that there are.

        Raises ModelError.
        """
        self._model: LlamaModel | None = LlamaModel(path)
        ends = (self._model.value(f"tokenizer.ggml.{key}_token_id") for key in ENDS)
        super().__init__(frozenset(int(end) for end in ends if end), min(batch_size or 16, MOST_SEQUENCES))
        self.threads = threads or int(os.environ.get("OMP_NUM_THREADS", "0")) or os.cpu_count() or 1

    @classmethod
    def load(cls, path: Path, *, batch_size: int | None = None, threads: int | None = None) -> Self:
        """The model in a file, or in a directory that holds one .gguf. Raises ModelError."""
        if path.is_dir():
            files = sorted(path.glob("*.gguf"))
            if len(files) != 1:
                raise ModelError(f"{path} holds {len(files)} .gguf files", help="give the path of one of them")
            path = files[0]
        if not path.is_file():
            raise ModelError(f"{path} does not exist", help="give a .gguf file, or a directory that holds one")
        return cls(path, batch_size=batch_size, threads=threads)

    @property
    def model(self) -> LlamaModel:
        if self._model is None:
            raise ValueError("the engine is closed")
        return self._model

    @property
    def context(self) -> int:
        return self.model.context

    @property
    def budget(self) -> int:
        return 4096

    def close(self) -> None:
        """Frees the model and what was kept; a generation that is under way ends first."""
        self._slots = self._model = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make_slots(self, count: int, capacity: int, *, waited_for: bool = False) -> LlamaSlots:
        # On a CPU flash attention reads 64 tokens in three quarters of the time, and writes one behind 1,900 in twice.
        flash = False if waited_for else None
        context = LlamaContext(self.model, count, capacity, self.threads, flash=flash)
        return LlamaSlots(context, count, capacity, self.eos)

    # --- scoring ---

    def _logits(self, ids: Ids) -> Iterator[Tensor]:
        slots, _ = self._room(1, len(ids))
        try:
            for _, logits in slots.logits([ids], [0], [0], [[True] * len(ids)]):
                yield logits
        finally:
            self._slots = slots

    @torch.inference_mode()
    def score(self, tokens: Sequence[Ids], labels: Sequence[Ids]) -> list[Score]:
        scores: list[Score] = []
        for start, stop in self._parts([len(row) for row in tokens]):
            asked = [np.asarray(row, np.int64) for row in labels[start:stop]]
            totals, _ = self._likelihoods(tokens[start:stop], asked)
            counts = [int((row != IGNORED).sum()) for row in asked]
            scores += [Score(-total, count) for total, count in zip(totals, counts, strict=True)]
        return scores

    def _continuations(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[tuple[float, bool]]:
        labels = [np.asarray(row[1:], np.int64) for row in rows]
        for row, count in zip(labels, counts, strict=True):
            row[: len(row) - count] = IGNORED
        totals, missed = self._likelihoods([row[:-1] for row in rows], labels)
        return [(total, not miss) for total, miss in zip(totals, missed, strict=True)]

    def _likelihoods(self, rows: Sequence[Ids], labels: Sequence[np.ndarray]) -> tuple[list[float], list[int]]:
        """The summed log-probability of each row's labels, and how many of them were not the likeliest."""
        slots, _ = self._room(len(rows), max(len(row) for row in rows))
        totals, missed = np.zeros(len(rows)), np.zeros(len(rows), np.int64)
        wanted = [row != IGNORED for row in labels]
        every = torch.from_numpy(np.concatenate([row[asked] for row, asked in zip(labels, wanted, strict=True)]))
        try:
            for owners, logits in slots.logits(rows, range(len(rows)), [0] * len(rows), wanted):
                targets, every = every[: len(owners)], every[len(owners) :]
                likelihoods = logits.gather(1, targets[:, None])[:, 0].double() - logits.logsumexp(-1).double()
                np.add.at(totals, owners, likelihoods.numpy())
                np.add.at(missed, owners, (logits.argmax(-1) != targets).numpy())
        finally:
            self._slots = slots
        return totals.tolist(), missed.tolist()
