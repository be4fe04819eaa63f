"""Slots of our own network: keys and values on its device, and on CUDA the graphs of their steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from albor.inference.network import Network
from albor.inference.slots import Slots, padded

NARROWEST = 64
"""Rows of the smallest graph that is made beside that of all slots: fewer cost nearly as much."""


class NetworkSlots(Slots):
    """Rows that ended are computed along, to no effect, until their slot is given to another."""

    def __init__(self, network: Network, count: int, capacity: int, eos: frozenset[int]) -> None:
        super().__init__(network.device, count, capacity, eos)
        self.network = network
        self.cache = network.empty_cache(count, capacity)
        cos, sin = network.rotation(torch.arange(capacity, device=network.device))
        self.rotation = cos.squeeze(1).contiguous(), sin.squeeze(1).contiguous()
        self._graphs: dict[tuple[int, bool], torch.cuda.CUDAGraph] = {}
        self._memory = torch.cuda.graph_pool_handle() if network.device.type == "cuda" else None

    def read(self, prompts: Sequence[Sequence[int]], slots: Sequence[int]) -> None:
        rows = [prompt[:-1] for prompt in prompts]
        self.network.read(self._send(padded(rows, 0)), self.cache, self._send(slots))

    def copy(self, sources: Sequence[int], targets: Sequence[int], span: int) -> None:
        have, want = self._send(sources), self._send(targets)
        for cached in (self.cache.keys, self.cache.values):
            for layer in cached:
                layer[want, :, :span] = layer[have, :, :span]

    def step(self, live: int, span: int) -> None:
        if self.device.type == "cuda":
            self._replay(live, span)  # gpu
        else:
            self._step(live, span)

    def _replay(self, live: int, span: int) -> None:  # gpu
        """The step as a graph, captured when there is none of this width yet."""
        width = self.count
        while max(live, NARROWEST) <= width // 2:
            width //= 2
        graph = self._graphs.get((width, self.greedy))
        if graph is not None:
            graph.replay()
            return
        self._step(width, span)  # compiles what is not yet compiled
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            self._step(width, span)
        self._graphs[width, self.greedy] = graph

    def _step(self, width: int, span: int) -> None:
        hidden = self.network.step(self.tokens[:width], self.cache, self.lengths[:width], self.rotation, span)
        self._take(self.network.logits(hidden))
