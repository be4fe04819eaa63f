"""Slots of our own network: keys and values on its device, and on CUDA the graphs of their steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from albor.inference.network import Network
from albor.inference.slots import Slots, padded

WIDTHS = (1, 2, 8, 16, 32)
"""Rows of the graphs for few rows; above, powers of two of the number of slots. Between 2 and 8, matrix products cost
the same."""

FEW, BUCKETS = 4, (16, 64, 256, 1024)
"""Prompts that are read one after the other by graphs, and the lengths that there are graphs for."""


class NetworkSlots(Slots):
    """Rows that ended are computed along, to no effect, until their slot is given to another."""

    def __init__(self, network: Network, count: int, capacity: int, eos: frozenset[int]) -> None:
        super().__init__(network.device, count, capacity, eos)
        self.network = network
        self.cache = network.empty_cache(count, capacity)
        cos, sin = network.rotation(torch.arange(capacity, device=network.device))
        self.rotation = cos.squeeze(1).contiguous(), sin.squeeze(1).contiguous()
        self._graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}  # by width, and whether ranked
        halves = (-(-count >> power) for power in range(count.bit_length()))
        self._reads: dict[int, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}  # by length
        wide = (half for half in halves if half > WIDTHS[-1])
        self._widths = sorted({min(count, width) for width in (*WIDTHS, *wide)})
        self._memory = torch.cuda.graph_pool_handle() if network.device.type == "cuda" else None

    def read(self, rows: Sequence[Sequence[int]], slots: Sequence[int], starts: Sequence[int]) -> None:
        if self.device.type == "cuda" and len(rows) <= FEW:  # gpu
            for row, slot, start in zip(rows, slots, starts, strict=True):
                for done in range(0, len(row), BUCKETS[-1]):
                    self._replay_read(row[done : done + BUCKETS[-1]], slot, start + done)
            return
        tokens, at, begun = (self._send(given).to(self.network.device) for given in (padded(rows, 0), slots, starts))
        span = min(max(starts) + tokens.shape[1], self.capacity)
        self.network.read(tokens, self.cache, at, begun if any(starts) else None, span)

    def _replay_read(self, row: Sequence[int], slot: int, start: int) -> None:  # gpu
        """One prompt by a graph, since the host takes longer to ask for its kernels than the device to run them."""
        bucket = next(size for size in BUCKETS if size >= len(row))
        tokens, place = self._send([*row, *[0] * (bucket - len(row))]), self._send([slot, start])
        if bucket not in self._reads:
            given = torch.zeros(1, bucket, dtype=torch.long, device=self.device), torch.zeros_like(place)
            given[1].copy_(place)

            def read() -> None:
                self.network.read(given[0], self.cache, given[1][:1], given[1][1:], self.capacity)

            read()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._memory):
                read()
            self._reads[bucket] = graph, *given
        graph, ids, at = self._reads[bucket]
        ids[0].copy_(tokens)
        at.copy_(place)
        graph.replay()

    def copy(self, source: int, target: int, span: int) -> None:
        for cached in (self.cache.keys, self.cache.values):
            cached[:, target, :, :span] = cached[:, source, :, :span]

    def exchange(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        ours, theirs = (self._send(at).to(self.network.device) for at in ([*sources, *targets], [*targets, *sources]))
        for cached in (self.cache.keys, self.cache.values):
            for layer in cached:
                layer[theirs, :, :span] = layer[ours, :, :span]
        self._move(sources, targets)

    def step(self, live: int, span: int, ranked: bool) -> None:
        if self.device.type == "cuda":
            self._replay(live, span, ranked)  # gpu
        else:
            self._step(live, span, ranked)

    def _replay(self, live: int, span: int, ranked: bool) -> None:  # gpu
        """The step as a graph, captured when there is none of this width yet."""
        width = next(width for width in self._widths if width >= live)
        graph = self._graphs.get((width, ranked))
        if graph is not None:
            graph.replay()
            return
        self._step(width, span, ranked)  # compiles what is not yet compiled
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            self._step(width, span, ranked)
        self._graphs[width, ranked] = graph

    def _step(self, width: int, span: int, ranked: bool) -> None:
        tokens, lengths = (state[:width].to(self.network.device) for state in (self.tokens, self.lengths))
        logits = self.network.step(tokens, self.cache, lengths, self.rotation, span)
        self._take(logits, ranked)
