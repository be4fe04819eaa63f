"""Completions to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from albor.data.tokenizer import Codec
from albor.inference.engine import Engine, Request, Sampling, derive_seed


def complete(
    engine: Engine, codec: Codec, prompts: Sequence[str], sampling: Sampling, *, max_new_tokens: int, seed: int
) -> list[dict[str, str]]:
    """{"prompt", "completion"} for each prompt; equal prompts get completions of their own.

    A model has only seen text behind the end of another, so a prompt is given that beginning too.
    """
    seen: Counter[str] = Counter()
    requests = []
    for prompt in prompts:
        own = derive_seed(seed, prompt, seen[prompt])
        seen[prompt] += 1
        ids = (codec.eos_id, *codec.encode(prompt))
        requests.append(Request(prompt=ids, max_new_tokens=max_new_tokens, sampling=sampling, seed=own))
    new = dict(engine.generate(requests))
    return [{"prompt": prompt, "completion": codec.decode(new[index])} for index, prompt in enumerate(prompts)]
