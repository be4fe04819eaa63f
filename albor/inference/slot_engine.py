"""What engines have in common that generate in slots and score by parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch

from albor.inference.batching import Batch, Terms
from albor.inference.engine import MOST_TOLD, Found, Ids, Likelihood, Request, Session, Told, silent
from albor.inference.slots import Slots

S = TypeVar("S", bound=Slots)

SESSION_PACE = {"cuda": (2, 1)}
"""``batching.PACE`` where somebody waits for each token."""
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

    @property
    def warmed_by(self) -> Sequence[int]:
        return (8,)

    @property
    def chunk(self) -> int:
        """Tokens of prompts that are read between two steps of others, so that these do not wait for long."""
        return 64

    @abstractmethod
    def _make_slots(self, count: int, capacity: int, *, waited_for: bool = False) -> S:
        """At most ``count`` of them, as many as there is memory for. ``waited_for``: what is read is asked for again
        and again, and somebody waits for each token."""

    @abstractmethod
    def _continuations(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[tuple[float, bool]]:
        """The log-probability of the last ``counts`` tokens of each row, and whether each was the likeliest."""

    # --- generation ---

    def session(self, *, rows: int | None = None, capacity: int | None = None) -> Session:
        capacity = min(capacity or self.context, self.context)
        count = rows or self.batch_size or self.most_rows
        slots = self._make_slots(count, -(-capacity // ROUND) * ROUND, waited_for=True)
        pace = SESSION_PACE.get(slots.device.type)
        return Batch(slots, self._terms(slots.count, capacity, chunk=self.chunk, reuse=True, pace=pace))

    def _terms(self, count: int, context: int, **more: Any) -> Terms:
        return Terms(count=count, context=context, eos=self.eos, budget=self.budget, **more)

    def generate(self, requests: Sequence[Request]) -> Found:
        for request in requests:
            if not 0 < len(request.prompt) < self.context:
                raise ValueError(f"a prompt of {len(request.prompt)} tokens; 1 to {self.context - 1} fit this model")
        return self._generate(requests)

    def _generate(self, requests: Sequence[Request]) -> Found:
        if not requests:
            return
        longest = max(min(self.context, len(r.prompt) + r.max_new_tokens) for r in requests)
        slots, count = self._room(len(requests), longest)
        batch = Batch(slots, self._terms(count, min(self.context, slots.capacity)))
        # Equal prompts follow each other. The shortest ones come first: they may go on for longest.
        order = sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt), requests[i].prompt))
        indices = {id(batch.add(requests[index])): index for index in order}
        try:
            while not batch.idle:
                for made in batch.advance():
                    if made.ended:
                        yield indices[id(made)], made.tokens
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
    def loglikelihood(self, pairs: Sequence[tuple[Ids, Ids]], progress: Told = silent) -> list[tuple[float, bool]]:
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
            progress(stop, len(pairs))
        return found

    @abstractmethod
    def _logits(self, ids: Ids) -> Iterator[torch.Tensor]:
        """The logits [N, V] behind each token of a text, float32, by parts."""

    @torch.inference_mode()
    def likelihoods(self, ids: Ids, told: int = 0) -> list[Likelihood]:
        if not 0 < len(ids) <= self.context + 1:
            raise ValueError(f"{len(ids)} tokens; 1 to {self.context + 1} can be asked of this model")
        if not 0 <= told <= MOST_TOLD:
            raise ValueError(f"told {told}: 0 to {MOST_TOLD} tokens can be told")
        found: list[Likelihood] = []
        for logits in self._logits(ids[:-1]) if len(ids) > 1 else ():
            logprobs = logits.log_softmax(-1)
            labels = torch.tensor(ids[len(found) + 1 : len(found) + 1 + len(logits)], device=logits.device)
            best = logprobs.topk(min(told, logits.shape[1]))
            of = logprobs.gather(1, labels[:, None])[:, 0].tolist()
            pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
            found += [Likelihood(p, tuple(zip(*pair, strict=True))) for p, pair in zip(of, pairs, strict=True)]
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
