"""Completions to read."""

from __future__ import annotations

from collections.abc import Sequence

from albor.data.tokenizer import Codec
from albor.inference.engine import Engine, Sampling


def complete(engine: Engine, codec: Codec, prompts: Sequence[str], sampling: Sampling) -> list[dict[str, str]]:
    """{"prompt", "completion"} for each prompt.

    A model has only seen text behind the end of another, so a prompt is given that beginning too.
    """
    ids = [[codec.eos_id, *codec.encode(prompt)] for prompt in prompts]
    return [
        {"prompt": prompt, "completion": codec.decode(new)}
        for prompt, new in zip(prompts, engine.generate(ids, sampling), strict=True)
    ]
