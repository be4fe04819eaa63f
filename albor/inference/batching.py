"""Continuous batching: requests come and go, and rows that end make room for those that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from albor.inference.engine import STOP_EVERY, Continuation, Likelihood, Request
from albor.inference.prefixes import LEAST, Prefixes
from albor.inference.slots import Look, Seen, Slots

PACE = {"cuda": (4, 1)}
"""Steps between two looks at what ended, and looks that may be out while the device goes on. Elsewhere 1 and 0: waiting
costs nothing there, and a row that ended is never computed in vain."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """How a batch is run."""

    count: int
    """Rows at a time."""
    context: int
    """Tokens of a prompt and its continuation together."""
    eos: frozenset[int]
    budget: int
    """Tokens of prompts that are read in one go, padding included."""
    chunk: int | None = None
    """Tokens of prompts that are read between two looks; None reads all that there are."""
    reuse: bool = False
    """Whether what is held of other requests serves for a prompt that begins alike; equal prompts do in any case."""
    pace: tuple[int, int] | None = None
    """Instead of PACE."""


@dataclass(eq=False)
class Row(Continuation):
    """A continuation that a batch makes."""

    slot: int = -1
    limit: int = 0
    """Most new tokens."""
    read: int = 0
    """Tokens of the prompt whose keys and values are in its slot."""
    leader: Row | None = None
    """Who is reading the first ``shared`` tokens for it, too."""
    shared: int = 0
    since: int = 0
    """Steps that were made before it came."""
    asked: int = 0
    """New tokens at which it was last asked whether to stop."""

    @property
    def wanted(self) -> int:
        """Tokens to read; the last one of a prompt is the first step's input."""
        return len(self.request.prompt) - 1

    @property
    def ranked(self) -> bool:
        return self.request.told is not None or self.request.sampling.top_k > 0


class Batch:
    """Continues requests in slots. ``live[i]`` has the i-th slot; rows that are still being read have others.

    The device is kept busy: on CUDA the host looks at some steps' outcome while the device computes the next ones.
    """

    def __init__(self, slots: Slots, terms: Terms) -> None:
        self.slots, self.terms = slots, terms
        self.steps, self.behind = terms.pace or PACE.get(slots.device.type, (1, 0))
        self.waiting: deque[Row] = deque()
        self.reading: list[Row] = []
        self.live: list[Row] = []
        self.looks: deque[tuple[list[Row], bool, Look]] = deque()
        self.prefixes = Prefixes(terms.count, whole=not terms.reuse)
        self.used = [0] * terms.count
        """When each slot was given to a row last, counted in rows."""
        self.made = 0
        """Steps so far."""

    @property
    def capacity(self) -> int:
        return min(self.terms.context, self.slots.capacity)

    @property
    def idle(self) -> bool:
        return not (self.waiting or self.reading or self.live)

    def add(self, request: Request) -> Continuation:
        if not 0 < len(request.prompt) < self.capacity:
            raise ValueError(f"a prompt of {len(request.prompt)} tokens; 1 to {self.capacity - 1} fit this model")
        row = Row(request)
        row.limit = min(request.max_new_tokens, self.capacity - len(request.prompt))
        self.waiting.append(row)
        return row

    def cancel(self, continuation: Continuation) -> None:
        continuation.ended = continuation.ended or "cancelled"

    @torch.inference_mode()
    def advance(self) -> list[Continuation]:
        self._release()
        self._read()
        if not self.live:
            self.looks.clear()  # of rows that have ended
            return []
        ranked, span = any(row.ranked for row in self.live), self._span()
        self.slots.begin()
        for step in range(1, self.steps + 1):
            self.slots.step(len(self.live), min(span + step, self.slots.capacity), ranked)
        self.made += self.steps
        self.looks.append((list(self.live), ranked, self.slots.look(len(self.live), ranked)))
        return list(self._news(*self.looks.popleft())) if len(self.looks) > self.behind else []

    def _span(self) -> int:
        """Positions in the cache of the longest row, had none ended."""
        return max(row.wanted + self.made - row.since for row in self.live)

    # --- what came ---

    def _news(self, rows: Sequence[Row], ranked: bool, look: Look) -> Iterator[Continuation]:
        seen = look()
        counts, alive = seen.counts.tolist(), seen.alive.tolist()
        for slot, (row, tokens) in enumerate(zip(rows, seen.tokens.tolist(), strict=True)):
            if row.ended is None:
                row.tokens += tokens[: counts[slot]]
                if ranked and row.request.told is not None:
                    row.likelihoods += _likelihoods(seen, slot, counts[slot], row.request.told)
                self._end(row, alive[slot])
                yield row

    def _end(self, row: Row, alive: bool) -> None:
        """Says whether and why a row has ended, of the device's accord or its own."""
        new, stop = row.tokens, row.request.stop
        ended = not alive and bool(new) and new[-1] in self.terms.eos
        if ended:
            new.pop()
            del row.likelihoods[len(new) :]
        while stop is not None and row.asked + STOP_EVERY <= len(new):
            row.asked += STOP_EVERY
            if stop(new[: row.asked]):
                del new[row.asked :], row.likelihoods[row.asked :]
                row.ended = "stop"
                return
        if not alive:
            row.ended = "end" if ended else "length"

    # --- who comes next ---

    def _release(self) -> None:
        """Takes the slots of rows that have ended; the last rows move to those among the first."""
        gone = [slot for slot, row in enumerate(self.live) if row.ended]
        for row in (self.live[slot] for slot in gone):
            # The last token was chosen, not read. What a row that was ended from outside holds beyond is not asked.
            self._hold(row.slot, (*row.request.prompt, *row.tokens)[: row.wanted + max(len(row.tokens), 1)])
        sources, targets = [], []
        for slot in gone:
            while self.live and self.live[-1].ended:
                self.live.pop()
            if slot >= len(self.live):
                break
            row = self.live.pop()
            sources.append(row.slot)
            targets.append(slot)
            self._swap(row.slot, slot)
            self.live[slot], row.slot = row, slot
        if sources:
            held = max(self.prefixes.held(slot) for slot in sources)
            self.slots.exchange(sources, targets, min(max(self._span(), held), self.slots.capacity))
        for row in self.reading:
            if row.ended:
                self.prefixes.hold(row.slot, row.request.prompt[: row.read] if self.terms.reuse else ())
        self.reading = [row for row in self.reading if not row.ended]
        self._follow()  # before their slots are given to others

    def _swap(self, one: int, other: int) -> None:
        self.prefixes.exchange(one, other)
        self.used[one], self.used[other] = self.used[other], self.used[one]

    def _hold(self, slot: int, ids: Sequence[int]) -> None:
        if self.terms.reuse:
            self.prefixes.hold(slot, ids)

    def _admit(self) -> None:
        """Gives free slots to those who wait."""
        taken = {row.slot for row in self.reading}
        free = [slot for slot in range(len(self.live), self.terms.count) if slot not in taken]
        while self.waiting and free:
            row = self.waiting.popleft()
            if row.ended:
                continue
            row.slot = self._slot_for(row, free)
            free.remove(row.slot)
            self.prefixes.hold(row.slot, row.request.prompt[:-1])
            self.used[row.slot] = max(self.used) + 1 if self.terms.reuse else 0
            self.reading.append(row)

    def _slot_for(self, row: Row, free: Sequence[int]) -> int:
        """A free slot for a row, which may find the beginning of its prompt there or elsewhere."""

        def oldest(slots: Sequence[int]) -> int:
            return min(slots, key=lambda slot: self.used[slot])

        found = self.prefixes.find(row.request.prompt[:-1])
        slot, shared = max(found, key=lambda pair: pair[1], default=(-1, 0))
        if slot < 0 or (self.terms.reuse and shared < LEAST):
            return oldest(free)
        if slot not in free:
            reading = {other.slot: other for other in self.reading}
            row.leader, row.shared = self.live[slot] if slot < len(self.live) else reading[slot], shared
            return oldest(free)
        row.read = row.reused = shared
        others = [other for other in free if other != slot]
        if not (self.terms.reuse and others) or 2 * shared >= self.prefixes.held(slot):
            return slot
        target = oldest(others)  # what else is held there may be asked for again
        self.slots.copy(slot, target, shared)
        return target

    def _read(self) -> None:
        """Reads prompts, as far as it may go at a time, and lets the rows live that are through."""
        left = self.terms.chunk if self.terms.chunk is not None else -1
        while True:
            self._admit()
            self._follow()
            parts = []
            for row in self.reading:
                if row.leader is None and left and row.read < row.wanted:
                    size = row.wanted - row.read if left < 0 else min(row.wanted - row.read, left)
                    left = left if left < 0 else left - size
                    parts.append((row, size))
            self._read_parts(parts)
            self._follow()
            through = [row for row in self.reading if row.leader is None and row.read == row.wanted]
            self._start(through)
            if not parts and not through:
                return

    def _follow(self) -> None:
        """Copies to those who wait for it what another has read."""
        for row in self.reading:
            leader = row.leader
            if leader is not None and (leader.read >= row.shared or leader.ended):
                row.read = row.reused = min(row.shared, leader.read)
                self.slots.copy(leader.slot, row.slot, row.read)
                row.leader = None

    def _read_parts(self, parts: list[tuple[Row, int]]) -> None:
        # Those from the beginning apart from those that go on; of like length together, for the sake of padding.
        parts.sort(key=lambda part: (part[0].read > 0, part[1]))
        while parts:
            size = 1
            while (
                size < len(parts)
                and (size + 1) * parts[size][1] <= self.terms.budget
                and (parts[size][0].read > 0) == (parts[0][0].read > 0)
            ):
                size += 1
            now, parts = parts[:size], parts[size:]
            starts = [row.read for row, _ in now]
            texts = [row.request.prompt[row.read : row.read + count] for row, count in now]
            self.slots.read(texts, [row.slot for row, _ in now], starts)
            for row, count in now:
                row.read += count

    def _start(self, rows: Sequence[Row]) -> None:
        """The slots after the live ones become theirs."""
        if not rows:
            return
        for row in rows:
            place = len(self.live)
            if row.slot != place:
                span = max(row.wanted, self.prefixes.held(place))
                self.slots.exchange([row.slot], [place], span)
                for other in self.reading:
                    if other.slot == place:
                        other.slot = row.slot
                self._swap(row.slot, place)
                row.slot = place
            row.since = self.made
            self.live.append(row)
        done = set(map(id, rows))
        self.reading = [row for row in self.reading if id(row) not in done]
        self.slots.place([row.slot for row in rows], [row.request for row in rows], [row.limit for row in rows])


def _likelihoods(seen: Seen, slot: int, count: int, told: int) -> Iterator[Likelihood]:
    assert seen.logprobs is not None and seen.likeliest is not None and seen.most is not None
    for place in range(count):
        likeliest = seen.likeliest[slot, place, :told].tolist(), seen.most[slot, place, :told].tolist()
        yield Likelihood(float(seen.logprobs[slot, place]), tuple(zip(*likeliest, strict=True)))
