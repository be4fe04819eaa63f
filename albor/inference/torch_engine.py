"""The engine that runs the decoder's own weights."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

from albor.inference.batching import Batch
from albor.inference.device import best_dtype
from albor.inference.engine import Found, Ids, Request, Sampling, Score
from albor.inference.network import Network
from albor.inference.slots import Slots, padded
from albor.models.checkpoint import load_model
from albor.models.decoder import Decoder
from albor.models.llama_config import read_eos
from albor.models.loss import IGNORED, linear_cross_entropy

ROWS = {"cuda": 512}
"""Rows generated at a time, where memory allows and nobody says otherwise; 16 on other devices."""
TOKENS = {"cuda": 32768}
"""Tokens read at a time; 4,096 on other devices."""
SHARE = 0.7
"""Of the free memory of a GPU, for keys and values."""
ROUND = 128
"""Positions are reserved in multiples of this, so that calls of like size share what was prepared."""


class TorchEngine:
    """Continuous batching over slots with a key-value cache, and scoring.

    The slots of the last call are kept for the next, and on CUDA the graphs of their steps with them.
    """

    def __init__(self, model: Decoder, eos: frozenset[int] = frozenset(), batch_size: int | None = None) -> None:
        """Copies the weights in the model's computing dtype; what is done to the model later is not seen."""
        self.network = Network(model.eval())
        self.config, self.device = model.config, self.network.device
        self.eos = eos
        self.batch_size = batch_size
        """Most rows computed at a time; null chooses by device and memory. Results depend on it by rounding at most."""
        self._slots: Slots | None = None

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
        return cls(model, read_eos(directory), batch_size)

    @property
    def context(self) -> int:
        return self.config.max_position_embeddings

    @property
    def budget(self) -> int:
        """Tokens read at a time."""
        return TOKENS.get(self.device.type, 4096)

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
        slots, count = self._room(len(requests), -(-longest // ROUND) * ROUND)
        slots.sample(sampling)
        try:
            yield from Batch(slots, requests, count, self.context, self.eos, self.budget).run()
        finally:
            self._slots = slots

    def _room(self, requests: int, capacity: int) -> tuple[Slots, int]:
        """Slots for so many requests at most, and how many to use. They are nobody else's until given back."""
        kept, self._slots = self._slots, None
        wanted = min(requests, self.batch_size or ROWS.get(self.device.type, 16))
        if kept is not None and kept.count >= wanted and kept.capacity >= capacity:
            return kept, wanted
        del kept
        if self.batch_size is None and self.device.type == "cuda":  # gpu
            torch.cuda.empty_cache()
            config = self.config
            row = 2 * config.num_hidden_layers * config.kv_dim * capacity * self.network.dtype.itemsize
            wanted = max(1, min(wanted, int(SHARE * torch.cuda.mem_get_info(self.device)[0]) // row))
        return Slots(self.network, wanted, capacity, self.eos), wanted

    # --- scoring ---

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

    def _continuations(self, rows: Sequence[Ids], counts: Sequence[int]) -> list[tuple[float, bool]]:
        """The log-probability of the last ``counts`` tokens of each row, and whether each was the likeliest."""
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
