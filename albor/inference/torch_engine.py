"""The engine that runs the decoder's own weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from albor.inference.device import best_dtype
from albor.inference.engine import Ids, Score
from albor.inference.network import Network
from albor.inference.network_slots import BUCKETS, NetworkSlots
from albor.inference.slot_engine import SlotEngine
from albor.inference.slots import padded
from albor.models.checkpoint import load_model
from albor.models.companions import end_of_message
from albor.models.decoder import Decoder
from albor.models.llama_config import read_eos
from albor.models.loss import IGNORED, linear_cross_entropy

ROWS = {"cuda": 512}
"""Rows generated at a time, where memory allows and nobody says otherwise; 16 on other devices."""
TOKENS = {"cuda": 32768}
"""Tokens read at a time; 4,096 on other devices."""
CHUNKS = {"cuda": 8192}
"""Tokens read between two steps of others. A GPU waits for the host's calls as long for a thousand."""
SHARE = 0.7
"""Of the free memory of a GPU, for keys and values."""


class TorchEngine(SlotEngine[NetworkSlots]):
    """Continuous batching over slots with a key-value cache, and scoring.

    On CUDA the graphs of the slots' steps are kept with them.
    """

    def __init__(self, model: Decoder, eos: frozenset[int] = frozenset(), batch_size: int | None = None) -> None:
        """Copies the weights in the model's computing dtype; what is done to the model later is not seen."""
        super().__init__(eos, batch_size)
        self.network = Network(model.eval())
        self.config, self.device = model.config, self.network.device

    @classmethod
    def load(
        cls,
        directory: Path,
        *,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        batch_size: int | None = None,
    ) -> TorchEngine:
        """The model of a directory, computing in ``dtype`` or the device's best; raises ModelError."""
        model = load_model(directory, dtype=dtype or best_dtype(device), device=device)
        return cls(model, read_eos(directory) | {*end_of_message(directory)}, batch_size)

    @property
    def context(self) -> int:
        return self.config.max_position_embeddings

    @property
    def budget(self) -> int:
        return TOKENS.get(self.device.type, 4096)

    @property
    def warmed_by(self) -> Sequence[int]:
        return BUCKETS if self.device.type == "cuda" else super().warmed_by

    @property
    def chunk(self) -> int:
        return CHUNKS.get(self.device.type, super().chunk)

    @property
    def most_rows(self) -> int:
        return ROWS.get(self.device.type, 16)

    def _make_slots(self, count: int, capacity: int, *, waited_for: bool = False) -> NetworkSlots:
        if self.batch_size is None and self.device.type == "cuda":  # gpu
            torch.cuda.empty_cache()
            config = self.config
            row = 2 * config.num_hidden_layers * config.kv_dim * capacity * self.network.dtype.itemsize
            count = max(1, min(count, int(SHARE * torch.cuda.mem_get_info(self.device)[0]) // row))
        return NetworkSlots(self.network, count, capacity, self.eos)

    def _logits(self, ids: Ids) -> Iterator[torch.Tensor]:
        hidden = self.network.read(torch.tensor([list(ids)], device=self.device))[0]
        yield from map(self.network.logits, hidden.split(self.budget // 8))

    @torch.inference_mode()
    def score(self, tokens: Sequence[Ids], labels: Sequence[Ids]) -> list[Score]:
        scores: list[Score] = []
        for start, stop in self._parts([len(row) for row in tokens]):
            targets = torch.from_numpy(padded(labels[start:stop], IGNORED)).to(self.device)
            hidden = self.network.read(torch.from_numpy(padded(tokens[start:stop], 0)).to(self.device))
            nll = [
                linear_cross_entropy(row, self.network.embedding, target)
                for row, target in zip(hidden, targets, strict=True)
            ]
            counts = (targets != IGNORED).sum(dim=1)
            scores += map(Score, torch.stack(nll).tolist(), counts.tolist())
        return scores

    def _continuations(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[tuple[float, bool]]:
        hidden = self.network.read(torch.from_numpy(padded([row[:-1] for row in rows], 0)).to(self.device))
        owners = np.repeat(np.arange(len(rows)), counts)
        places = np.concatenate(
            [np.arange(len(row) - 1 - n, len(row) - 1) for row, n in zip(rows, counts, strict=True)]
        )
        wanted = np.concatenate([row[-n:] for row, n in zip(rows, counts, strict=True)])
        owner, place, token = (torch.from_numpy(numbers).to(self.device) for numbers in (owners, places, wanted))
        total = torch.zeros(len(rows), device=self.device)
        missed = torch.zeros(len(rows), dtype=torch.long, device=self.device)
        # The logits of as many tokens as are read at a time would not fit.
        for at, of, label in zip(*(t.split(self.budget // 8) for t in (place, owner, token)), strict=True):
            logits = self.network.logits(hidden[of, at])
            total.index_add_(0, of, logits.log_softmax(-1).gather(1, label[:, None])[:, 0])
            missed.index_add_(0, of, (logits.argmax(-1) != label).long())
        return list(zip(total.tolist(), (missed == 0).tolist(), strict=True))
