"""A teacher that transformers computes, as a writer."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from albor.data.tokenizer import Codec
from albor.inference.engine import STOP_EVERY, Request, Sampling
from albor.inference.prompts import TextRequest
from albor.inference.text import EngineWriter
from albor.inference.transformers_engine import TransformersEngine
from tests import foreign
from tests.inference.asking import sampled

DRAWN = Sampling(temperature=1.0, top_p=0.9)
PROMPTS = [(5, 9, 2), (7,), (300, 301, 302, 303, 304), (5, 9, 2, 8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoModelForCausalLM

    place = foreign.qwen2(tmp_path_factory.mktemp("writer"), context=64)
    return AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def codec() -> Codec:
    return foreign.codec()


def engine(model: Any, codec: Codec, batch_size: int = 3) -> TransformersEngine:
    return TransformersEngine(model, eos=codec.eos_id, context=64, batch_size=batch_size)


def requests(**changes: Any) -> list[Request]:
    return [Request(**{"prompt": prompt, "max_new_tokens": 12, "seed": 1 << 63, **changes}) for prompt in PROMPTS]


def test_the_likeliest_tokens_follow_whatever_runs_beside(model: Any, codec: Codec) -> None:
    found = dict(engine(model, codec).generate(requests()))
    for index, prompt in enumerate(PROMPTS):
        ids = list(prompt)
        with torch.no_grad():
            while len(ids) < len(prompt) + 12:
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
                if ids[-1] == codec.eos_id:
                    ids.pop()
                    break
        assert found[index] == ids[len(prompt) :]


def test_equal_calls_draw_the_same_and_other_seeds_others(model: Any, codec: Codec) -> None:
    asked = [sampled(requests(seed=seed), DRAWN) for seed in (6, 6, 8)]
    first, again, other = (dict(engine(model, codec).generate(some)) for some in asked)
    assert first == again != other


def test_it_stops_when_it_has_enough(model: Any, codec: Codec) -> None:
    found = dict(engine(model, codec).generate(requests(max_new_tokens=40, stop=lambda ids: True)))
    assert all(len(ids) <= STOP_EVERY for ids in found.values()) and max(map(len, found.values())) == STOP_EVERY


def test_what_does_not_fit_the_context_is_cut(model: Any, codec: Codec) -> None:
    long = Request(prompt=tuple(range(20, 80)), max_new_tokens=40)
    assert len(dict(engine(model, codec).generate([long]))[0]) <= 4
    with pytest.raises(ValueError, match="1 to 63 fit"):
        list(engine(model, codec).generate([Request(prompt=(1,) * 64, max_new_tokens=1)]))


def test_texts_begin_with_the_token_they_are_said_to(model: Any, codec: Codec) -> None:
    asked = TextRequest(prompt="def f():\n", max_new_tokens=8)
    for start in (None, 7):
        ((_, answer),) = EngineWriter(engine(model, codec), codec, start_id=start).write([asked])
        prompt = (codec.eos_id if start is None else start, *codec.encode("def f():\n"))
        [(_, ids)] = engine(model, codec).generate([Request(prompt=prompt, max_new_tokens=8)])
        assert answer.text == codec.decode(ids)
