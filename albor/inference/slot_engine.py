"""What engines have in common that generate in slots and score by parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import torch

from albor.inference.batching import Batch
from albor.inference.engine import Found, Ids, Request, Sampling
from albor.inference.slots import Slots

S = TypeVar("S", bound=Slots)

ROUND = 128
"""Positions are reserved in multiples of this, so that calls of like size share what was prepared."""


class SlotEngine(ABC, Generic[S]):
    """The slots of the last call are kept for the next."""

    def __init__(self, eos: frozenset[int], batch_size: int | None) -> None:
        self.eos = eos
        self.batch_size = batch_size
        """Most rows computed at a time; null chooses by device and memory. Results depend on it by rounding at most."""
        self._slots: S | None = None

    @property
    @abstractmethod
    def context(self) -> int: ...

    @property
    @abstractmethod
    def budget(self) -> int:
        """Tokens read at a time."""

    @property
    def most_rows(self) -> int:
        """Rows computed at a time where nobody says otherwise."""
        return 16

    @abstractmethod
    def _make_slots(self, count: int, capacity: int) -> S:
        """At most ``count`` of them, as many as there is memory for."""

    @abstractmethod
    def _continuations(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[tuple[float, bool]]:
        """The log-probability of the last ``counts`` tokens of each row, and whether each was the likeliest."""

    # --- generation ---

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> Found:
        for request in requests:
            if not 0 < len(request.prompt) < self.context:
                raise ValueError(f"a prompt of {len(request.prompt)} tokens; 1 to {self.context - 1} fit this model")
        return self._generate(requests, sampling)

    @torch.inference_mode()
    def _generate(self, requests: Sequence[Request], sampling: Sampling) -> Found:
        if not requests:
            return
        longest = max(min(self.context, len(r.prompt) + r.max_new_tokens) for r in requests)
        slots, count = self._room(len(requests), longest)
        slots.sample(sampling)
        try:
            yield from Batch(slots, requests, count, self.context, self.eos, self.budget).run()
        finally:
            self._slots = slots

    def _room(self, rows: int, longest: int) -> tuple[S, int]:
        """Slots for so many rows at most, and how many to use. They are nobody else's until given back."""
        kept, self._slots = self._slots, None
        wanted = min(rows, self.batch_size or self.most_rows)
        capacity = -(-longest // ROUND) * ROUND
        if kept is not None and kept.count >= wanted and kept.capacity >= capacity:
            return kept, wanted
        del kept
        made = self._make_slots(wanted, capacity)
        return made, made.count

    # --- scoring ---

    @torch.inference_mode()
    def loglikelihood(self, pairs: Sequence[tuple[Ids, Ids]]) -> list[tuple[float, bool]]:
        for context, continuation in pairs:
            if not context or not 0 < len(continuation) <= self.context:
                raise ValueError(
                    f"{len(context)} tokens and {len(continuation)} to follow; "
                    f"1 or more, and 1 to {self.context}, can be asked of this model"
                )
        # The last token is asked for and not read.
        rows = [[*context, *continuation][-self.context - 1 :] for context, continuation in pairs]
        order = sorted(range(len(pairs)), key=lambda index: len(rows[index]))
        found: list[tuple[float, bool]] = [(0.0, False)] * len(pairs)
        for start, stop in self._parts([len(rows[index]) for index in order]):
            part = order[start:stop]
            likelihoods = self._continuations([rows[i] for i in part], [len(pairs[i][1]) for i in part])
            for index, likelihood in zip(part, likelihoods, strict=True):
                found[index] = likelihood
        return found

    def _parts(self, lengths: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Ranges of rows to read together: no more tokens than the budget, padding included, and no more rows than the
        batch size."""
        start = 0
        while start < len(lengths):
            longest, stop = lengths[start], start + 1
            while stop < len(lengths) and (self.batch_size is None or stop - start < self.batch_size):
                longest = max(longest, lengths[stop])
                if longest * (stop + 1 - start) > self.budget:
                    break
                stop += 1
            yield start, stop
            start = stop
