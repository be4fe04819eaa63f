import math
import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
import transformers

from albor.config.schema.model import Model
from albor.inference import batching
from albor.inference.engine import STOP_EVERY, Engine, Request, Sampling
from albor.inference.torch_engine import TorchEngine
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError
from tests.inference.asking import GREEDY, PROMPTS, SAMPLED, greedily, outputs, requests, sampled, some_requests

MODEL = Model(name="m", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, vocab_size=61, max_position_embeddings=40, initializer_range=0.3)  # fmt: skip


@pytest.fixture(scope="module")
def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(MODEL)


def test_greedy_generation_equals_the_full_forward_token_by_token(model):
    expected = [greedily(model, prompt, 12) for prompt in PROMPTS]
    assert outputs(TorchEngine(model, batch_size=3), requests(), GREEDY) == expected
    assert len(expected[-1]) == 2, "the context is full"


def test_end_of_text_ends_a_row_and_is_left_out(model):
    eos = greedily(model, PROMPTS[0], 12)[4]
    engine = TorchEngine(model, frozenset([eos]))
    assert outputs(engine, requests(), GREEDY) == [greedily(model, prompt, 12, eos) for prompt in PROMPTS]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED, Sampling(temperature=1.5)])
@pytest.mark.parametrize("batch_size", [2, 5, 64])
def test_a_continuation_does_not_depend_on_the_others_their_order_or_the_batch(model, sampling, batch_size):
    generator = random.Random(batch_size)
    many, eos = some_requests(generator), frozenset([17, 40])
    alone = [outputs(TorchEngine(model, eos), [request], sampling)[0] for request in many]
    assert len({len(new) for new in alone}) > 5
    engine = TorchEngine(model, eos, batch_size)
    for _ in range(2):
        order = generator.sample(range(40), generator.randrange(1, 41))
        assert outputs(engine, [many[index] for index in order], sampling) == [alone[index] for index in order]


@pytest.mark.parametrize("pace", [(4, 1), *(pytest.param(p, marks=pytest.mark.slow) for p in ((3, 2), (4, 0)))])
@pytest.mark.parametrize("batch_size", [1, 5])
def test_nor_on_how_often_the_host_looks(model, monkeypatch, pace, batch_size):
    """The pace of a GPU, whose host looks every few steps, and when the next ones are under way."""
    many, eos = some_requests(random.Random(1)), frozenset([17, 40])
    expected = outputs(TorchEngine(model, eos), many, SAMPLED)
    monkeypatch.setitem(batching.PACE, "cpu", pace)
    engine = TorchEngine(model, eos, batch_size)
    for _ in range(2):
        assert outputs(engine, many, SAMPLED) == expected


def test_equal_prompts_get_continuations_by_their_seeds(model):
    same = [Request(prompt=(9,), max_new_tokens=12, seed=seed) for seed in (1, 2, 1)]
    first, second, third = outputs(TorchEngine(model), same, SAMPLED)
    assert first == third != second


def test_results_come_as_they_are_finished(model):
    """So that a caller can keep each at once, and ask again for those that are missing only."""
    asked = [Request(prompt=(5, 6), max_new_tokens=count) for count in (20, 3, 8, 2)]
    assert [index for index, _ in TorchEngine(model, batch_size=2).generate(asked)] == [1, 2, 3, 0]
    engine = TorchEngine(model, batch_size=2)
    running = engine.generate(sampled(asked, SAMPLED))
    begun = dict([next(running), next(running)])
    running.close()
    missing = [index for index in range(4) if index not in begun]
    rest = outputs(engine, [asked[index] for index in missing], SAMPLED)
    expected = outputs(TorchEngine(model), asked, SAMPLED)
    assert [{**begun, **dict(zip(missing, rest, strict=True))}[index] for index in range(4)] == expected


def test_two_callers_do_not_disturb_each_other(model):
    engine = TorchEngine(model, batch_size=2)
    expected = outputs(engine, requests(), SAMPLED)
    first, second = engine.generate(sampled(requests(), SAMPLED)), engine.generate(sampled(requests(), SAMPLED))
    found = [dict(pairs) for pairs in zip(*zip(first, second, strict=True), strict=True)]
    assert [[made[index] for index in range(len(PROMPTS))] for made in found] == [expected, expected]


@pytest.mark.parametrize("sampling", [GREEDY, SAMPLED])
def test_stop_is_asked_every_few_tokens(model, sampling):
    asked: list[int] = []

    def after(count: int) -> Callable[[Sequence[int]], bool]:
        def stop(new: Sequence[int]) -> bool:
            asked.append(len(new))
            return len(new) >= count

        return stop

    every = requests(PROMPTS[:5], 2 * STOP_EVERY + 3)
    whole = outputs(TorchEngine(model), every, sampling)
    for count in (1, STOP_EVERY, STOP_EVERY + 1, 2 * STOP_EVERY + 1):
        stopped = outputs(TorchEngine(model), [replace(r, stop=after(count)) for r in every], sampling)
        rounded = -(-count // STOP_EVERY) * STOP_EVERY
        assert stopped == [new[:rounded] for new in whole]
    assert {*asked} == {STOP_EVERY, 2 * STOP_EVERY}


def test_requests_that_cannot_be_met_are_refused(model):
    engine: Engine = TorchEngine(model)
    assert list(engine.generate([])) == []
    for prompt in ((), (1,) * 40):
        with pytest.raises(ValueError, match="1 to 39 fit"):
            engine.generate([Request(prompt=prompt, max_new_tokens=1)])
    for seed, count, needed in ((0, 0, "at least 1"), (-1, 1, "seed -1: 0 to 2"), (1 << 64, 1, "0 to 2")):
        with pytest.raises(ValueError, match=needed):
            Request(prompt=(1,), max_new_tokens=count, seed=seed)
    with pytest.raises(ValueError, match="top_p"):
        Sampling(top_p=0.0)


@torch.no_grad()
def test_scores_are_those_of_the_full_forward(model):
    generator = random.Random(0)
    tokens = [[generator.randrange(61) for _ in range(n)] for n in (7, 3, 12, 12)]
    labels = [[*row[1:], -100] for row in tokens]
    for row, label, score in zip(tokens, labels, TorchEngine(model, batch_size=3).score(tokens, labels), strict=True):
        logprobs = model(torch.tensor([row]))[0].log_softmax(-1)
        expected = -sum(logprobs[place, token].item() for place, token in enumerate(label) if token >= 0)
        assert score.count == len(row) - 1
        assert score.nll == pytest.approx(expected, rel=1e-5)
        assert math.isfinite(math.exp(score.nll / score.count))


@torch.no_grad()
@pytest.mark.parametrize("batch_size", [None, 1, 3])
def test_likelihoods_are_those_of_the_full_forward(model, batch_size):
    generator = random.Random(0)

    def some(most: int) -> list[int]:
        return [generator.randrange(61) for _ in range(generator.randrange(1, most))]

    pairs = [(some(20), some(12)) for _ in range(20)]
    pairs += [([3, 4], greedily(model, (3, 4), 5)), (some(20) * 30, [1, 2, 3]), ([7], list(range(40)))]
    found = TorchEngine(model, batch_size=batch_size).loglikelihood(pairs)
    for (context, continuation), (total, greedy) in zip(pairs, found, strict=True):
        read = [*context, *continuation][-41:-1]
        logprobs = model(torch.tensor([read]))[0, -len(continuation) :].log_softmax(-1)
        assert total == pytest.approx(logprobs.gather(1, torch.tensor(continuation)[:, None]).sum().item(), rel=1e-5)
        assert greedy == (logprobs.argmax(-1).tolist() == continuation)
    assert [greedy for _, greedy in found].count(True) >= 1
    assert TorchEngine(model).loglikelihood([]) == []
    for pair in (([], [1]), ([1], []), ([1], [1] * 41)):
        with pytest.raises(ValueError, match="can be asked"):
            TorchEngine(model).loglikelihood([pair])


def test_a_directory_brings_its_end_of_text(model, tmp_path):
    eos = greedily(model, PROMPTS[0], 12)[4]
    save_model(model.config, model.state_dict(), tmp_path, eos_token_id=eos)
    engine = TorchEngine.load(tmp_path)
    assert engine.context == 40
    assert outputs(engine, requests(PROMPTS[:1]), GREEDY) == [greedily(model, PROMPTS[0], 12, eos)]
    with pytest.raises(ModelError):
        TorchEngine.load(tmp_path / "nowhere")


@torch.no_grad()
@pytest.mark.parametrize("qk_norm", [False, True])
def test_transformers_generates_the_same(tmp_path, qk_norm):
    torch.manual_seed(0)
    model = Decoder(replace(MODEL, qk_norm=qk_norm))
    save_model(model.config, model.state_dict(), tmp_path, eos_token_id=0, pad_token_id=4)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    found = outputs(TorchEngine.load(tmp_path), requests(PROMPTS[:5], 20), GREEDY)
    for prompt, new in zip(PROMPTS, found, strict=False):
        ids = torch.tensor([prompt])
        every = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False)
        made = every[0, len(prompt) :].tolist()
        assert new == (made[: made.index(0)] if 0 in made else made)


def test_what_is_read_at_once_changes_no_score(model, monkeypatch):
    rows = [list(prompt) for prompt in PROMPTS if len(prompt) > 1]
    asked = [row[:-1] for row in rows], [row[1:] for row in rows]
    together = TorchEngine(model).score(*asked)
    monkeypatch.setattr(TorchEngine, "budget", 20)
    by_parts = TorchEngine(model).score(*asked)
    assert [score.count for score in by_parts] == [len(row) - 1 for row in rows]
    for ours, theirs in zip(by_parts, together, strict=True):
        assert ours.nll == pytest.approx(theirs.nll, rel=1e-5)
