"""The engine on a GPU, with its kernels and graphs, against the same weights on the CPU."""

from __future__ import annotations

import copy
import random

import pytest
import torch

from albor.config.schema.model import Model
from albor.inference.engine import Request, Sampling
from albor.inference.torch_engine import TorchEngine
from albor.models.decoder import Decoder
from tests.inference.asking import sampled
from tests.models.triton_device import NEEDS_CUDA

pytestmark = NEEDS_CUDA

SHAPE = {"name": "m", "hidden_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4,
         "num_key_value_heads": 2, "intermediate_size": 512, "vocab_size": 997,
         "max_position_embeddings": 200, "initializer_range": 0.2}  # fmt: skip
SAMPLINGS = [Sampling(), Sampling(temperature=0.2, top_p=0.95), Sampling(temperature=1.0)]


def decoder(dtype: torch.dtype = torch.float32, **changes) -> Decoder:
    torch.manual_seed(0)
    return Decoder(Model(**{**SHAPE, **changes}), dtype)


def asked(count: int, *, stops: bool = True) -> list[Request]:
    """Several for each prompt, of many lengths, some of which stop."""
    generator = random.Random(0)
    out: list[Request] = []
    while len(out) < count:
        prompt = tuple(generator.randrange(997) for _ in range(generator.choice((1, 2, 30, 70, 150))))
        for _ in range(generator.randrange(1, 9)):
            stop = (lambda new: new[-1] % 3 == 0) if stops and len(out) % 3 == 0 else None
            new = generator.randrange(1, 60)
            out.append(Request(prompt=prompt, max_new_tokens=new, seed=len(out), stop=stop))
    return out[:count]


def answers(engine: TorchEngine, requests: list[Request], sampling: Sampling) -> list[list[int]]:
    found = dict(engine.generate(sampled(requests, sampling)))
    return [found[index] for index in range(len(requests))]


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
@pytest.mark.parametrize(
    "changes",
    [{}, {"qk_norm": True}, {"num_attention_heads": 8, "num_key_value_heads": 1}, {"head_dim": 32}],
    ids=str,
)
def test_a_gpu_generates_what_a_cpu_does(sampling, changes) -> None:
    """But for rounding, after which a continuation goes its own way."""
    model, requests, eos = decoder(**changes), asked(120), frozenset([5, 50, 500])
    expected = answers(TorchEngine(model, eos), requests, sampling)
    found = answers(TorchEngine(copy.deepcopy(model).cuda(), eos, batch_size=13), requests, sampling)
    same = sum(a == b for a, b in zip(found, expected, strict=True))
    assert same >= 0.95 * len(requests)


@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_neither_the_batch_nor_the_order_matters(sampling) -> None:
    model, requests, eos = decoder().cuda(), asked(150), frozenset([5, 50])
    expected = answers(TorchEngine(model, eos), requests, sampling)
    order = random.Random(1).sample(range(150), 150)
    for batch_size in (1, 7, 64):
        found = answers(TorchEngine(model, eos, batch_size), [requests[index] for index in order], sampling)
        same = sum(new == expected[index] for new, index in zip(found, order, strict=True))
        assert same >= 0.95 * len(requests)


def test_what_was_prepared_serves_later_calls() -> None:
    """Other samplings, fewer rows, and more room, in turn."""
    model = decoder().cuda()
    engine = TorchEngine(model, batch_size=16)
    for sampling in (*SAMPLINGS, SAMPLINGS[1]):
        for count in (40, 3, 1):
            requests = asked(count, stops=False)
            expected = answers(TorchEngine(model, batch_size=16), requests, sampling)
            found = answers(engine, requests, sampling)
            assert sum(a == b for a, b in zip(found, expected, strict=True)) >= 0.95 * count


def test_an_abandoned_call_leaves_no_trace() -> None:
    engine, requests = TorchEngine(decoder().cuda(), batch_size=8), asked(30)
    expected = answers(engine, requests, SAMPLINGS[0])
    for many in (1, 5):
        running = engine.generate(requests)
        for _ in range(many):
            next(running)
        running.close()
    found = answers(engine, requests, SAMPLINGS[0])
    assert sum(a == b for a, b in zip(found, expected, strict=True)) >= 28


def test_bf16_goes_the_same_way_at_first() -> None:
    model, requests = decoder(initializer_range=0.1), asked(60, stops=False)
    rounded = decoder(torch.bfloat16, initializer_range=0.1).cuda()
    expected = answers(TorchEngine(model), requests, Sampling())
    found = answers(TorchEngine(rounded), requests, Sampling())
    assert sum(a[0] == b[0] for a, b in zip(found, expected, strict=True)) >= 54
    assert [len(new) for new in found] == [len(new) for new in expected]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-4), (torch.bfloat16, 0.03)])
def test_likelihoods_and_scores(dtype, bound) -> None:
    generator = random.Random(0)
    rows = [[generator.randrange(997) for _ in range(generator.randrange(2, 120))] for _ in range(50)]
    labels = [[*row[1:], -100] for row in rows]
    ours, theirs = TorchEngine(decoder()), TorchEngine(decoder(dtype).cuda())
    for found, expected in zip(theirs.score(rows, labels), ours.score(rows, labels), strict=True):
        assert found.count == expected.count and found.nll == pytest.approx(expected.nll, rel=bound)
    pairs = [(row[:-1], row[-1:]) if len(row) < 9 else (row[:-6], row[-6:]) for row in rows]
    likelihoods = zip(theirs.loglikelihood(pairs), ours.loglikelihood(pairs), strict=True)
    for (total, greedy), (expected_total, expected_greedy) in likelihoods:
        assert total == pytest.approx(expected_total, rel=2 * bound) and greedy == expected_greedy
