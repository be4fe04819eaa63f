"""Requests to engines, and what a decoder alone would answer."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import torch

from albor.inference.engine import Engine, Request, Sampling
from albor.models.decoder import Decoder

PROMPTS = [(5, 6, 7), (9,), tuple(range(1, 11)), (9,), (50,) * 6, tuple(range(38))]
SAMPLED = Sampling(temperature=0.8, top_p=0.9)
GREEDY = Sampling()


def requests(prompts: Sequence[tuple[int, ...]] = PROMPTS, count: int = 12) -> list[Request]:
    return [Request(prompt=prompt, max_new_tokens=count, seed=seed) for seed, prompt in enumerate(prompts)]


def sampled(asked: Sequence[Request], sampling: Sampling) -> list[Request]:
    return [replace(request, sampling=sampling) for request in asked]


def outputs(engine: Engine, asked: Sequence[Request], sampling: Sampling) -> list[list[int]]:
    """What was generated, in the order of the requests."""
    found = dict(engine.generate(sampled(asked, sampling)))
    return [found[index] for index in range(len(asked))]


@torch.no_grad()
def greedily(model: Decoder, prompt: Sequence[int], count: int, eos: int | None = None) -> list[int]:
    tokens = list(prompt)
    for _ in range(min(count, model.config.max_position_embeddings - len(prompt))):
        token = int(model(torch.tensor([tokens]))[0, -1].argmax())
        if token == eos:
            break
        tokens.append(token)
    return tokens[len(prompt) :]


def some_requests(generator: random.Random) -> list[Request]:
    """40 of many lengths; some have the same prompt, some stop."""
    many = []
    for seed in range(40):
        length = generator.choice((1, 1, 2, 3, 20))
        prompt = tuple(generator.randrange(61) for _ in range(length)) if seed % 4 else (9, 8, 7)
        stop = (lambda new: new[-1] % 2 == 0) if seed % 3 == 0 else None
        many.append(Request(prompt=prompt, max_new_tokens=generator.randrange(1, 30), seed=seed, stop=stop))
    return many
