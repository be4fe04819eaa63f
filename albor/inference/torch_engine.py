"""The engine that runs the decoder itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from albor.inference.engine import Sampling, Score
from albor.inference.sampling import choose, draws
from albor.models.cache import KVCache
from albor.models.checkpoint import load_model
from albor.models.decoder import Decoder
from albor.models.llama_config import read_eos
from albor.models.loss import IGNORED, linear_cross_entropy


class TorchEngine:
    """Batched generation with a key-value cache, and scoring. Rows of a batch may differ in length."""

    def __init__(self, model: Decoder, eos: frozenset[int] = frozenset(), batch_size: int = 16) -> None:
        self.model = model.eval().requires_grad_(False)
        self.eos = eos
        self.batch_size = batch_size
        """Most rows computed at a time; what is generated does not depend on it, up to rounding."""

    @classmethod
    def load(
        cls, directory: Path, *, device: str = "cpu", dtype: torch.dtype = torch.float32, batch_size: int = 16
    ) -> TorchEngine:
        """The model of a directory; raises ModelError."""
        return cls(load_model(directory, dtype=dtype, device=device), read_eos(directory), batch_size)

    @property
    def context(self) -> int:
        return self.model.config.max_position_embeddings

    @property
    def device(self) -> torch.device:
        return self.model.model.embed_tokens.weight.device

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[list[int]]:
        for prompt in prompts:
            if not 0 < len(prompt) < self.context:
                raise ValueError(f"a prompt of {len(prompt)} tokens; 1 to {self.context - 1} fit this model")
        if not prompts:
            return []
        uniform = draws(prompts, sampling).to(self.device)
        outputs: list[list[int]] = [[] for _ in prompts]
        # Prompts of like length share a batch, so that little is computed on padding.
        order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            continued = self._continue([prompts[index] for index in chosen], uniform[chosen], sampling)
            for index, output in zip(chosen, continued, strict=True):
                outputs[index] = output
        return outputs

    def _continue(self, prompts: Sequence[Sequence[int]], uniform: Tensor, sampling: Sampling) -> list[list[int]]:
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        longest = max(len(prompt) for prompt in prompts)
        capacity = min(self.context, longest + sampling.max_new_tokens)
        cache = KVCache(self.model.config, len(prompts), capacity, self.model.dtype, self.device)
        hidden = self.model.hidden(_pad(prompts, 0).to(self.device), cache)
        cache.lengths = lengths
        hidden = hidden[torch.arange(len(prompts), device=self.device), lengths - 1]
        outputs: list[list[int]] = [[] for _ in prompts]
        alive = list(range(len(prompts)))
        for step in range(sampling.max_new_tokens):
            tokens = choose(self.model.logits(hidden), uniform[alive, step], sampling)
            kept = []
            for row, (index, token) in enumerate(zip(alive, tokens.tolist(), strict=True)):
                if self._add(outputs[index], token, len(prompts[index]), sampling):
                    kept.append(row)
            if not kept:
                break
            if len(kept) < len(alive):
                alive = [alive[row] for row in kept]
                rows = torch.tensor(kept, device=self.device)
                cache.keep(rows, max(len(prompts[index]) for index in alive) + step)
                tokens = tokens[rows]
            hidden = self.model.hidden(tokens[:, None], cache)[:, 0]
        return outputs

    def _add(self, output: list[int], token: int, prompt_length: int, sampling: Sampling) -> bool:
        """Adds a new token to a row; false when the row ends here."""
        if token in self.eos:
            return False
        output.append(token)
        full = len(output) == sampling.max_new_tokens or prompt_length + len(output) == self.context
        return not full and not (sampling.stop is not None and sampling.stop(output))

    @torch.inference_mode()
    def score(self, tokens: Sequence[Sequence[int]], labels: Sequence[Sequence[int]]) -> list[Score]:
        scores = []
        for start in range(0, len(tokens), self.batch_size):
            rows = slice(start, start + self.batch_size)
            targets = _pad(labels[rows], IGNORED).to(self.device)
            hidden = self.model.hidden(_pad(tokens[rows], 0).to(self.device))
            head = self.model.model.embed_tokens.weight
            for row, target in zip(hidden, targets, strict=True):
                nll = linear_cross_entropy(row, head, target)
                scores.append(Score(nll.item(), int((target != IGNORED).sum())))
        return scores


def _pad(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    """[B, longest], filled on the right: a causal model's tokens never see what comes after them."""
    longest = max(len(row) for row in rows)
    return torch.tensor([[*row, *[filler] * (longest - len(row))] for row in rows], dtype=torch.long)
