import math
import random

import pytest
import torch

from albor.config.schema.model import Model
from albor.inference.engine import Engine, Sampling
from albor.inference.sampling import choose, draws
from albor.inference.torch_engine import TorchEngine
from albor.models.checkpoint import save_model
from albor.models.decoder import Decoder
from albor.models.errors import ModelError

MODEL = Model(name="m", hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
              intermediate_size=48, vocab_size=61, max_position_embeddings=40, initializer_range=0.3)  # fmt: skip
PROMPTS = [[5, 6, 7], [9], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], [9], [50] * 6, list(range(38))]
SAMPLED = Sampling(max_new_tokens=12, temperature=0.8, top_p=0.9, seed=3)
GREEDY = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def model() -> Decoder:
    torch.manual_seed(0)
    return Decoder(MODEL)


@torch.no_grad()
def greedily(model: Decoder, prompt: list[int], count: int, eos: int | None = None) -> list[int]:
    tokens = list(prompt)
    for _ in range(min(count, MODEL.max_position_embeddings - len(prompt))):
        token = int(model(torch.tensor([tokens]))[0, -1].argmax())
        if token == eos:
            break
        tokens.append(token)
    return tokens[len(prompt) :]


def test_greedy_generation_equals_the_full_forward_token_by_token(model):
    expected = [greedily(model, prompt, 12) for prompt in PROMPTS]
    assert TorchEngine(model, batch_size=3).generate(PROMPTS, GREEDY) == expected
    assert len(expected[-1]) == 2, "the context is full"


def test_end_of_text_ends_a_row_and_is_left_out(model):
    eos = greedily(model, PROMPTS[0], 12)[4]
    engine = TorchEngine(model, frozenset([eos]))
    assert engine.generate(PROMPTS, GREEDY) == [greedily(model, prompt, 12, eos) for prompt in PROMPTS]


def test_a_sample_does_not_depend_on_the_others_their_order_or_the_batch(model):
    together = TorchEngine(model).generate(PROMPTS, SAMPLED)
    assert together[1] != together[3], "equal prompts get samples of their own"
    for prompt, output in zip(PROMPTS[:3], together[:3], strict=True):
        assert TorchEngine(model).generate([prompt], SAMPLED) == [output]
    shuffled = [4, 1, 0, 3, 5, 2]
    again = TorchEngine(model, batch_size=2).generate([PROMPTS[index] for index in shuffled], SAMPLED)
    assert again == [together[index] for index in shuffled]
    other = TorchEngine(model).generate(PROMPTS, Sampling(max_new_tokens=12, temperature=0.8, seed=4))
    assert other != together


def test_stop_ends_a_row_as_soon_as_it_says_so(model):
    whole = TorchEngine(model).generate(PROMPTS, SAMPLED)
    sampling = Sampling(max_new_tokens=12, temperature=0.8, top_p=0.9, seed=3, stop=lambda new: len(new) == 3)
    assert TorchEngine(model).generate(PROMPTS, sampling) == [output[:3] for output in whole]


def test_prompts_that_do_not_fit_are_refused(model):
    engine: Engine = TorchEngine(model)
    assert engine.generate([], GREEDY) == []
    for prompt in ([], [1] * 40):
        with pytest.raises(ValueError, match="1 to 39 fit"):
            engine.generate([prompt], GREEDY)
    with pytest.raises(ValueError, match="top_p"):
        Sampling(max_new_tokens=1, top_p=0.0)


def test_sampled_frequencies_are_the_probabilities():
    logits = torch.tensor([0.0, 2.0, 1.0, -1.0, 0.5]).repeat(20_000, 1)
    uniform = torch.rand(20_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for temperature in (0.5, 1.0):
        picked = choose(logits, uniform, Sampling(max_new_tokens=1, temperature=temperature))
        shares = picked.bincount(minlength=5) / 20_000
        torch.testing.assert_close(shares, (logits[0] / temperature).softmax(-1), rtol=0, atol=0.015)


def test_top_p_keeps_the_fewest_tokens_that_reach_it():
    logits = torch.tensor([[0.1, 0.5, 0.15, 0.25]]).log().repeat(1000, 1)
    uniform = torch.linspace(0, 1 - 1e-12, 1000, dtype=torch.float64)
    for top_p, kept in ((0.4, {1}), (0.6, {1, 3}), (0.8, {1, 2, 3}), (1.0, {0, 1, 2, 3})):
        sampling = Sampling(max_new_tokens=1, temperature=1.0, top_p=top_p)
        assert set(choose(logits, uniform, sampling).tolist()) == kept


def test_random_numbers_follow_seed_prompt_and_repetition():
    first = draws([[1], [2], [1]], SAMPLED)
    assert first.unique(dim=0).shape[0] == 3
    assert torch.equal(draws([[2], [1], [1]], SAMPLED), first[[1, 0, 2]])


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


def test_a_directory_brings_its_end_of_text(model, tmp_path):
    eos = greedily(model, PROMPTS[0], 12)[4]
    save_model(model.config, model.state_dict(), tmp_path, eos_token_id=eos)
    engine = TorchEngine.load(tmp_path)
    assert engine.context == 40
    assert engine.generate(PROMPTS[:1], GREEDY) == [greedily(model, PROMPTS[0], 12, eos)]
    with pytest.raises(ModelError):
        TorchEngine.load(tmp_path / "nowhere")
