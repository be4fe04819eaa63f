"""Where rows are generated side by side: their keys, values and state on the device, and one step for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from albor.inference.engine import Request, Sampling
from albor.inference.sampling import choose, draws, knobs

Look = Callable[[], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Waits for the device, then tells how many new tokens rows have [B], whether they go on [B], and the tokens [B, T]."""


class Slots(ABC):
    """Room for ``count`` rows of ``capacity`` positions. The first ones are in use: a step computes only those.

    A row starts with all of its prompt but the last token in the cache; that token is the first step's input.
    """

    def __init__(self, device: torch.device, count: int, capacity: int, eos: frozenset[int]) -> None:
        """``device`` has the rows' state."""
        self.device, self.count, self.capacity = device, count, capacity

        def numbers(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.tokens, self.lengths, self.made, self.limits = (numbers(count) for _ in range(4))
        """Each row's next input, its positions in the cache, its new tokens so far, and the most it may have."""
        self.alive = numbers(count, dtype=torch.bool)
        self.uniform = numbers(count, capacity, dtype=torch.float32)
        self.outputs = numbers(count, capacity, dtype=torch.int32)
        self.eos = torch.tensor(sorted(eos), dtype=torch.long, device=device)
        self.knobs = numbers(2, dtype=torch.float32)
        self.greedy = True

    def sample(self, sampling: Sampling) -> None:
        """How tokens are drawn from now on."""
        self.greedy = sampling.temperature == 0
        self.knobs.copy_(knobs(sampling, self.device))

    # --- rows come and go ---

    def place(self, slots: Sequence[int], requests: Sequence[Request], limits: Sequence[int]) -> None:
        """Puts requests into slots; what they read is left to ``read`` and ``copy``."""
        at = self._send(slots)
        self.tokens[at] = self._send([request.prompt[-1] for request in requests])
        self.lengths[at] = self._send([len(request.prompt) - 1 for request in requests])
        self.limits[at] = self._send(limits)
        self.made.index_fill_(0, at, 0)
        self.alive.index_fill_(0, at, True)
        if not self.greedy:
            table = np.zeros((len(slots), max(limits)), np.float32)
            for row, request, limit in zip(table, requests, limits, strict=True):
                row[:limit] = draws(request.seed, limit)
            self.uniform[at, : table.shape[1]] = self._send(table)

    @abstractmethod
    def read(self, prompts: Sequence[Sequence[int]], slots: Sequence[int]) -> None:
        """Computes the keys and values of prompts, all but their last token, into slots."""

    @abstractmethod
    def copy(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        """Copies the first ``span`` keys and values of slots to others."""

    def move(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        """Moves rows to other slots, and all that belongs to them."""
        self.copy(sources, targets, span)
        have, want = self._send(sources), self._send(targets)
        for state in (self.tokens, self.lengths, self.made, self.limits, self.alive, self.uniform, self.outputs):
            state[want] = state[have]

    # --- steps ---

    @abstractmethod
    def step(self, live: int, span: int) -> None:
        """One more token for each of the first ``live`` rows, of which the longest has less than ``span`` positions."""

    def _take(self, logits: Tensor) -> None:
        """Chooses the next tokens of the first rows by their logits [W, V], float32."""
        width = len(logits)
        tokens, lengths, made, alive = (s[:width] for s in (self.tokens, self.lengths, self.made, self.alive))
        if self.greedy:
            tokens.copy_(logits.argmax(dim=-1))
        else:
            uniform = self.uniform[:width].gather(1, made[:, None]).squeeze(1)
            tokens.copy_(choose(logits, uniform, self.knobs))
        self.outputs[:width].scatter_(1, made[:, None], tokens[:, None].int())
        made += alive
        lengths += alive
        alive &= (made < self.limits[:width]) & (tokens[:, None] != self.eos).all(dim=1)

    def look(self, live: int, most: int) -> Look:
        """How the first ``live`` rows stand after the steps so far, none with more than ``most`` new tokens.

        On CUDA the host need not wait: it may ask for more steps before it calls what is returned.
        """
        states = self.made[:live], self.alive[:live], self.outputs[:live, :most]
        if self.device.type == "cuda":
            return _later(states)  # gpu
        copies = [state.to("cpu", copy=True) for state in states]
        return lambda: _arrays(copies)

    def _send(self, values: Sequence[int] | np.ndarray) -> Tensor:
        """An array on the device, without waiting for what the device is doing."""
        tensor = torch.from_numpy(np.asarray(values))
        if self.device.type == "cuda":  # gpu
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def padded(rows: Sequence[Sequence[int]], filler: int) -> np.ndarray:
    """[B, longest] int64, filled on the right: a causal model's tokens never see what comes after them."""
    table = np.full((len(rows), max(len(row) for row in rows)), filler, np.int64)
    for place, row in zip(table, rows, strict=True):
        place[: len(row)] = row
    return table


def _later(states: Iterable[Tensor]) -> Look:  # gpu
    """Copies on their way to the host."""
    copies = [torch.empty(s.shape, dtype=s.dtype, pin_memory=True).copy_(s, non_blocking=True) for s in states]
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        copied.synchronize()
        return _arrays(copies)

    return wait


def _arrays(tensors: Iterable[Tensor]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made, alive, outputs = (tensor.numpy() for tensor in tensors)
    return made, alive, outputs
