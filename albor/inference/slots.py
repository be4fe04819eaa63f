"""Where rows are generated side by side: their keys, values and state on the device, and one step for all of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from albor.inference.engine import MOST_TOLD, MOST_TOP_K, Request
from albor.inference.host import Host
from albor.inference.sampling import draws, knobs, narrow

STEPS = 4
"""Most steps between two looks."""


@dataclass(frozen=True)
class Seen:
    """What came of some steps, for the rows that were in use."""

    counts: np.ndarray
    """New tokens of each row [B]; fewer than steps were made where it ended."""
    alive: np.ndarray
    """Whether they go on [B]."""
    tokens: np.ndarray
    """[B, STEPS], of which the first ones count."""
    logprobs: np.ndarray | None = None
    """Theirs [B, STEPS], where the steps were ranked."""
    likeliest: np.ndarray | None = None
    """The likeliest tokens in the places of these [B, STEPS, N], the likeliest first."""
    most: np.ndarray | None = None
    """Their log-probabilities."""


Look = Callable[[], Seen]
"""Waits for the device, then tells."""


class Slots(ABC):
    """Room for ``count`` rows of ``capacity`` positions. The first ones are in use: a step computes only those.

    A row starts with all of its prompt but the last token in the cache; that token is the first step's input.
    """

    def __init__(self, device: torch.device, count: int, capacity: int, eos: frozenset[int]) -> None:
        """Steps are made on ``device``. Where that is no CUDA device, the host has the rows' state."""
        self.device = device = device if device.type == "cuda" else torch.device("cpu")
        self.count, self.capacity = count, capacity

        def numbers(*shape: int, dtype: torch.dtype = torch.long) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        self.tokens, self.lengths, self.made, self.limits = (numbers(count) for _ in range(4))
        """Each row's next input, its positions in the cache, its new tokens so far, and the most it may have."""
        self.alive = numbers(count, dtype=torch.bool)
        self.uniform = numbers(count, capacity, dtype=torch.float32)
        self.knobs = numbers(count, 2, dtype=torch.float32)
        self.top_k = numbers(count)
        self.fresh = numbers(count)
        """New tokens since the last look, and what they are."""
        self.drawn = numbers(count, STEPS, dtype=torch.int32)
        self._told: tuple[Tensor, ...] = ()
        """On a GPU the log-probabilities, likeliest tokens and theirs, as ``Seen`` has them; made when first wanted."""
        self.eos = torch.tensor(sorted(eos), dtype=torch.long, device=device)
        self.host = Host(self) if self.device.type == "cpu" else None

    # --- rows come and go ---

    def place(self, slots: Sequence[int], requests: Sequence[Request], limits: Sequence[int]) -> None:
        """Starts requests in slots that have all of their prompts but the last token in the cache."""
        at = self._send(slots)
        self.tokens[at] = self._send([request.prompt[-1] for request in requests])
        self.lengths[at] = self._send([len(request.prompt) - 1 for request in requests])
        self.limits[at] = self._send(limits)
        self.made.index_fill_(0, at, 0)
        self.alive.index_fill_(0, at, True)
        samplings = [request.sampling for request in requests]
        self.knobs[at] = self._send(knobs(samplings))
        self.top_k[at] = self._send([sampling.top_k for sampling in samplings])
        table = np.zeros((len(slots), max(limits)), np.float32)
        for row, request, limit in zip(table, requests, limits, strict=True):
            if request.sampling.temperature:
                row[:limit] = draws(request.seed, limit)
        self.uniform[at, : table.shape[1]] = self._send(table)

    @abstractmethod
    def read(self, rows: Sequence[Sequence[int]], slots: Sequence[int], starts: Sequence[int]) -> None:
        """Computes the keys and values of tokens into slots, from the positions ``starts`` on, up to which a slot has
        them."""

    @abstractmethod
    def copy(self, source: int, target: int, span: int) -> None:
        """Copies the first ``span`` keys and values of a slot to another."""

    @abstractmethod
    def exchange(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        """Exchanges the first ``span`` keys and values of slots, and moves the sources' rows to the targets."""

    def _move(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        have, want = self._send(sources), self._send(targets)
        for state in (self.tokens, self.lengths, self.made, self.limits, self.alive, self.knobs, self.top_k):
            state[want] = state[have]
        self.uniform[want] = self.uniform[have]

    # --- steps ---

    @abstractmethod
    def step(self, live: int, span: int, ranked: bool) -> None:
        """One more token for each of the first ``live`` rows, of which the longest has less than ``span`` positions.

        ``ranked`` is needed where a row has a top_k, or wants to know what the model said.
        """

    def begin(self) -> None:
        """From here on, up to STEPS steps are made before a look."""
        if self.host is not None:
            self.host.fresh[:] = 0
        else:
            self.fresh.zero_()  # gpu

    def _take(self, logits: Tensor, ranked: bool) -> None:
        """Chooses the next tokens of the first rows by their logits [W, V], float32."""
        if self.host is not None:
            self.host.take(logits.cpu().numpy(), ranked)
        else:
            self._take_there(logits, ranked)  # gpu

    def _take_there(self, logits: Tensor, ranked: bool) -> None:  # gpu
        from albor.inference import kernels

        if not ranked:
            kernels.take(logits, self)
            return
        width = len(logits)
        best = logits.topk(min(MOST_TOP_K, logits.shape[1]))
        place = self.fresh[:width].clone()
        kernels.take(narrow(logits, self.top_k[:width], best.values), self)
        if not self._told:
            shape = self.count, STEPS, min(MOST_TOLD, logits.shape[1])
            self._told = (
                torch.zeros(shape[:2], device=self.device),
                torch.zeros(shape, dtype=torch.long, device=self.device),
                torch.zeros(shape, device=self.device),
            )
        logprobs, likeliest, most = self._told
        every, shown = torch.arange(width, device=self.device), likeliest.shape[2]
        whole = logits.logsumexp(dim=-1, keepdim=True)
        logprobs[every, place] = (logits.gather(1, self.tokens[:width, None]) - whole).squeeze(1)
        likeliest[every, place] = best.indices[:, :shown]
        most[every, place] = best.values[:, :shown] - whole

    def look(self, live: int, ranked: bool) -> Look:
        """How the first ``live`` rows stand after the steps since ``begin``, the log-probabilities only where all of
        them were ``ranked``.

        On CUDA the host need not wait: it may ask for more steps before it calls what is returned.
        """
        if self.host is not None:
            seen = self.host.look(live, ranked)
            return lambda: seen
        states = (self.fresh, self.alive, self.drawn, *(self._told if ranked else ()))  # gpu
        return _later([state[:live] for state in states])  # gpu

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


def _later(states: Sequence[Tensor]) -> Look:  # gpu
    """Copies on their way to the host."""
    copies = [torch.empty(s.shape, dtype=s.dtype, pin_memory=True).copy_(s, non_blocking=True) for s in states]
    copied = torch.cuda.Event()
    copied.record()

    def wait() -> Seen:
        copied.synchronize()
        return Seen(*(copy.numpy() for copy in copies))

    return wait
