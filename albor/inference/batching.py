"""Continuous batching: rows that end make room for requests that wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from albor.inference.engine import STOP_EVERY, Request
from albor.inference.slots import Look, Slots

PACE = {"cuda": (4, 1)}
"""Steps between two looks at what ended, and looks that may be out while the device goes on. Elsewhere 1 and 0: waiting
costs nothing there, and a row that ended is never computed in vain."""


@dataclass(eq=False)
class Row:
    """A request that is being continued."""

    index: int
    request: Request
    limit: int
    """Most new tokens."""
    since: int
    """Steps that were made before it came."""
    asked: int = 0
    """New tokens at which it was last asked whether to stop."""
    done: bool = False


class Batch:
    """Continues requests in slots, of which rows[i] has the i-th.

    The device is kept busy: on CUDA the host looks at some steps' outcome while the device computes the next ones.
    """

    def __init__(
        self, slots: Slots, requests: Sequence[Request], count: int, context: int, eos: frozenset[int], budget: int
    ) -> None:
        """At most ``count`` rows at a time; ``budget`` tokens of prompts are read at a time."""
        self.slots, self.requests, self.count, self.budget = slots, requests, count, budget
        self.context, self.eos = context, eos
        self.rows: list[Row] = []
        # Equal prompts follow each other. The shortest ones come first: they may go on for longest.
        self.waiting = deque(sorted(range(len(requests)), key=lambda i: (len(requests[i].prompt), requests[i].prompt)))
        self.made = 0
        """Steps so far."""
        self.last: tuple[Sequence[int], int] = (), 0
        """The prompt that was placed last, and its slot."""

    def run(self) -> Iterator[tuple[int, list[int]]]:
        steps, behind = PACE.get(self.slots.device.type, (1, 0))
        looks: deque[tuple[list[Row], Look]] = deque()
        while True:
            self._fill()
            if not self.rows:
                return
            span = self._span()
            for step in range(1, steps + 1):
                self.slots.step(len(self.rows), min(span + step, self.slots.capacity))
                self.made += 1
            most = min(max(self.made - row.since for row in self.rows), self.slots.capacity)
            looks.append((list(self.rows), self.slots.look(len(self.rows), most)))
            if len(looks) > behind:
                yield from self._finished(*looks.popleft())

    def _span(self) -> int:
        """Positions in the cache of the longest row, had none ended."""
        return max(len(row.request.prompt) - 1 + self.made - row.since for row in self.rows)

    # --- what ended ---

    def _finished(self, rows: Sequence[Row], look: Look) -> Iterator[tuple[int, list[int]]]:
        made, alive, outputs = look()
        for slot, row in enumerate(rows):
            if row.done:
                continue
            new = self._ended(row, int(made[slot]), bool(alive[slot]), outputs[slot])
            if new is not None:
                row.done = True
                yield row.index, new

    def _ended(self, row: Row, count: int, alive: bool, output: np.ndarray) -> list[int] | None:
        """The new tokens of a row that has ended, of the device's accord or its own."""
        if not alive and int(output[count - 1]) in self.eos:
            count -= 1
        while row.request.stop is not None and row.asked + STOP_EVERY <= count:
            row.asked += STOP_EVERY
            new: list[int] = output[: row.asked].tolist()
            if row.request.stop(new):
                return new
        return None if alive else output[:count].tolist()

    # --- who comes next ---

    def _fill(self) -> None:
        """Gives the slots of rows that ended to requests that wait; when none does, moves the last rows there."""
        free = [slot for slot, row in enumerate(self.rows) if row.done]
        free += range(len(self.rows), self.count)
        placed = free[: len(self.waiting)]
        if placed:
            for slot in placed:
                index = self.waiting.popleft()
                request = self.requests[index]
                limit = min(request.max_new_tokens, self.context - len(request.prompt))
                self.rows[slot : slot + 1] = [Row(index, request, limit, self.made)]
            self._read(placed)
        sources, targets = [], []
        for slot in free[len(placed) :]:
            while self.rows and self.rows[-1].done:
                self.rows.pop()
            if slot >= len(self.rows):
                break
            self.rows[slot] = self.rows.pop()
            sources.append(len(self.rows))
            targets.append(slot)
        if sources:
            self.slots.move(sources, targets, min(self._span(), self.slots.capacity))

    def _read(self, placed: Sequence[int]) -> None:
        """Reads the prompts of rows that were just placed, each different one once."""
        rows = [self.rows[slot] for slot in placed]
        self.slots.place(placed, [row.request for row in rows], [row.limit for row in rows])
        # A part of them may continue the prompt that was placed last time: its slot still holds it.
        firsts: list[tuple[Sequence[int], int]] = []
        sources, targets = [], []
        for prompt, slots in groupby(placed, key=lambda slot: self.rows[slot].request.prompt):
            group = list(slots)
            if prompt == self.last[0]:
                self.slots.copy([self.last[1]] * len(group), group, len(prompt) - 1)
                continue
            firsts.append((prompt, group[0]))
            sources += [group[0]] * (len(group) - 1)
            targets += group[1:]
        self.last = self.rows[placed[-1]].request.prompt, placed[-1]
        firsts = [(prompt, slot) for prompt, slot in firsts if len(prompt) > 1]
        while firsts:
            # In order of length, so the last one of a part is its longest.
            size = 1
            while size < len(firsts) and (size + 1) * len(firsts[size][0]) <= self.budget:
                size += 1
            part, firsts = firsts[:size], firsts[size:]
            self.slots.read([prompt for prompt, _ in part], [slot for _, slot in part])
        if targets:
            self.slots.copy(sources, targets, max(len(self.rows[slot].request.prompt) for slot in targets) - 1)
