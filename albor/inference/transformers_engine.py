"""Continuations by a model that transformers computes: a teacher that writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from itertools import groupby, islice
from typing import Any

import torch
from torch import Tensor

from albor.inference.engine import STOP_EVERY, Found, Request


class TransformersEngine:
    """Prompts of like length and the same sampling at a time, by the model's own ``generate``.

    What is drawn follows from the first seed of a batch: equal calls give equal continuations, and another number of
    rows at a time others.
    """

    def __init__(self, model: Any, *, eos: int, context: int, batch_size: int) -> None:
        self.model, self.eos, self.context, self.batch_size = model, eos, context, batch_size

    def generate(self, requests: Sequence[Request]) -> Found:
        for request in requests:
            if not 0 < len(request.prompt) < self.context:
                raise ValueError(f"a prompt of {len(request.prompt)} tokens; 1 to {self.context - 1} fit this model")
        kinds = sorted({astuple(request.sampling) for request in requests})
        order = sorted(
            range(len(requests)), key=lambda i: (kinds.index(astuple(requests[i].sampling)), -len(requests[i].prompt))
        )
        for _, alike in groupby(order, key=lambda index: requests[index].sampling):
            while group := list(islice(alike, self.batch_size)):
                yield from zip(group, self._batch([requests[index] for index in group]), strict=True)

    @torch.no_grad()
    def _batch(self, requests: Sequence[Request]) -> list[list[int]]:
        from transformers import GenerationConfig, StoppingCriteriaList

        width = len(requests[0].prompt)
        prompts = torch.full((len(requests), width), self.eos)
        seen = torch.zeros_like(prompts)
        for row, request in enumerate(requests):
            prompts[row, width - len(request.prompt) :] = torch.tensor(request.prompt)
            seen[row, width - len(request.prompt) :] = 1
        most = [min(request.max_new_tokens, self.context - width) for request in requests]
        sampling = requests[0].sampling
        drawn = {"temperature": sampling.temperature, "top_p": sampling.top_p} if sampling.temperature else {}
        settings = GenerationConfig(  # all that a repository's own settings may say otherwise
            do_sample=sampling.temperature > 0,
            top_k=sampling.top_k,
            repetition_penalty=1.0,
            num_beams=1,
            max_new_tokens=max(most),
            eos_token_id=self.eos,
            pad_token_id=self.eos,
            **drawn,
        )
        torch.manual_seed(requests[0].seed >> 1)  # 63 bits
        found: Tensor = self.model.generate(
            input_ids=prompts.to(self.model.device),
            attention_mask=seen.to(self.model.device),
            generation_config=settings,
            stopping_criteria=StoppingCriteriaList([Until(requests, width)]),
        )
        rows = [row[:count] for row, count in zip(found[:, width:].tolist(), most, strict=True)]
        return [row[: row.index(self.eos)] if self.eos in row else row for row in rows]


class Until:
    """Ends the rows whose requests have enough."""

    def __init__(self, requests: Sequence[Request], width: int) -> None:
        self.requests, self.width = requests, width
        self.ended = [False] * len(requests)

    def __call__(self, tokens: Tensor, scores: Any, **_: Any) -> Tensor:
        count = tokens.shape[1] - self.width
        if count and count % STOP_EVERY == 0:
            for row, request in enumerate(self.requests):
                if request.stop is not None and not self.ended[row]:
                    self.ended[row] = request.stop(tokens[row, self.width :].tolist())
        return torch.tensor(self.ended, device=tokens.device)
