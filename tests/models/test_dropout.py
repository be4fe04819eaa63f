"""Dropout and activation checkpointing of the decoder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from albor.models.attention import documents
from albor.models.decoder import Decoder

TOKENS = torch.randint(0, 97, (4, 33), generator=torch.Generator().manual_seed(5))
Gradients = dict[str, Tensor]


def step(model: Decoder, *, seed: int = 7, masked: bool = False) -> tuple[Tensor, Gradients]:
    """The loss and its gradients, with the random numbers that follow ``seed``."""
    model.zero_grad()
    torch.manual_seed(seed)
    mask = documents(TOKENS[:, :-1], eos=3) if masked else None
    loss = model.loss_sum(TOKENS[:, :-1], TOKENS[:, 1:], mask)
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def equal(a: Gradients, b: Gradients) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@torch.no_grad()
def test_it_is_off_when_not_training(decoder) -> None:
    dropping, plain = decoder(dropout=0.5), decoder()
    assert torch.equal(dropping.eval()(TOKENS), plain(TOKENS))
    assert not torch.equal(dropping.train()(TOKENS), plain(TOKENS))


@torch.no_grad()
def test_each_pass_drops_something_else_and_a_seed_repeats_it(decoder) -> None:
    model = decoder(dropout=0.5)
    passes = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        passes += [model(TOKENS), model(TOKENS)]
    assert torch.equal(passes[0], passes[2]) and torch.equal(passes[1], passes[3])
    assert not torch.equal(passes[0], passes[1]) and not torch.equal(passes[0], passes[4])


@torch.no_grad()
def test_what_blocks_add_is_dropped_and_nothing_else(decoder) -> None:
    """With all of it gone, the embeddings are what is left."""
    nearly_all, silent = decoder(dropout=1 - 1e-7), decoder()
    for name, parameter in silent.named_parameters():
        if name.endswith(("o_proj.weight", "down_proj.weight")):
            parameter.zero_()
    assert torch.equal(nearly_all(TOKENS), silent(TOKENS))


@torch.no_grad()
def test_the_mean_over_many_passes_is_what_a_block_adds(decoder) -> None:
    """What is kept is scaled up. One block, and its feed-forward layer silent: nothing that is not linear follows but
    the final norm, which a small addition leaves nearly so."""
    model = decoder(dropout=0.3, num_hidden_layers=1, initializer_range=1.0)
    block = model.state_dict()
    block["model.layers.0.mlp.down_proj.weight"].zero_()
    block["model.layers.0.self_attn.o_proj.weight"].mul_(1e-2)
    expected = model.eval().hidden(TOKENS)
    model.train()
    embedded = torch.nn.functional.embedding(TOKENS, block["model.embed_tokens.weight"])
    added = expected - model.model.norm(embedded)
    mean = torch.stack([model.hidden(TOKENS) for _ in range(400)]).mean(0)
    assert (mean - expected).norm() / added.norm() < 3 * (0.3 / 0.7 / 400) ** 0.5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_is_that_of_what_was_kept(decoder, checkpointing) -> None:
    """Against the slope of the loss along a random direction, with the same places dropped."""
    model = decoder(dropout=0.4, initializer_range=0.1)
    model.activation_checkpointing = checkpointing
    gradients = step(model)[1]
    directions = {name: torch.randn_like(tensor) for name, tensor in gradients.items()}

    def loss_at(distance: float) -> float:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.add_(directions[name], alpha=distance)
        found = step(model)[0].item()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.sub_(directions[name], alpha=distance)
        return found

    slope = (loss_at(1e-4) - loss_at(-1e-4)) / 2e-4
    assert slope == pytest.approx(sum((gradients[n] * directions[n]).sum().item() for n in gradients), rel=2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("changes", [{}, {"qk_norm": True}, {"num_hidden_layers": 5}], ids=str)
@pytest.mark.parametrize("masked", [False, True])
def test_checkpointing_changes_no_bit(decoder, dtype, dropout, changes, masked) -> None:
    kept, recomputed = (decoder(dtype, dropout=dropout, **changes) for _ in range(2))
    recomputed.activation_checkpointing = True
    for seed in (7, 8):
        one, other = (step(model, seed=seed, masked=masked) for model in (kept, recomputed))
        assert torch.equal(one[0], other[0]) and equal(one[1], other[1])


def test_checkpointing_leaves_the_random_numbers_where_they_were(decoder) -> None:
    """What is dropped in the second micro-batch does not depend on the first one's recomputation."""
    after = []
    for checkpointing in (False, True):
        model = decoder(dropout=0.3)
        model.activation_checkpointing = checkpointing
        step(model)
        after.append(torch.get_rng_state())
    assert torch.equal(*after)


def test_checkpointing_keeps_less(decoder) -> None:
    def kept(checkpointing: bool) -> int:
        model = decoder(dropout=0.1, num_hidden_layers=6)
        model.activation_checkpointing = checkpointing
        sizes: dict[int, int] = {}

        def note(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        held = {p.untyped_storage().data_ptr() for p in model.parameters()}
        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = model.loss_sum(TOKENS[:, :-1], TOKENS[:, 1:])
        found = sum(size for place, size in sizes.items() if place not in held)
        loss.backward()
        return found

    assert kept(True) < 0.25 * kept(False)


@torch.no_grad()
def test_checkpointing_computes_the_same_when_not_training(decoder) -> None:
    def outputs() -> Iterator[Tensor]:
        for checkpointing in (False, True):
            model = decoder(dropout=0.3).eval()
            model.activation_checkpointing = checkpointing
            yield model(TOKENS)

    assert torch.equal(*outputs())
