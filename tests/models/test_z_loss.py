"""z-loss (PaLM, section 5): loss + weight · log²Z per token, held against float64 and autograd."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from albor.models.loss import IGNORED, linear_cross_entropy


def reference(hidden: Tensor, weight: Tensor, labels: Tensor, z_loss: float) -> Tensor:
    logits = hidden.double() @ weight.double().T
    kept = labels != IGNORED
    log_z = logits[kept].exp().sum(-1).log()
    chosen = logits[kept].gather(1, labels[kept, None]).squeeze(1)
    return (log_z - chosen + z_loss * log_z.square()).sum()


@pytest.mark.parametrize("vocab", [50, 300_000])  # one chunk, and several
@pytest.mark.parametrize("z_loss", [1e-4, 0.3])
@pytest.mark.parametrize("with_ignored", [False, True])
def test_value_and_gradients_are_those_of_the_formula(vocab, z_loss, with_ignored) -> None:
    torch.manual_seed(0)
    hidden = torch.randn(20, 8, requires_grad=True)
    weight = torch.randn(vocab, 8, requires_grad=True)
    labels = torch.randint(0, vocab, (20,))
    if with_ignored:
        labels[::3] = IGNORED
    ours = linear_cross_entropy(hidden, weight, labels, z_loss)
    gradients = torch.autograd.grad(ours * 0.5, (hidden, weight))
    theirs = reference(hidden, weight, labels, z_loss)
    expected = torch.autograd.grad(theirs * 0.5, (hidden, weight))
    torch.testing.assert_close(ours.double(), theirs, rtol=1e-6, atol=0)
    for found, exact in zip(gradients, expected, strict=True):
        assert (found - exact).norm() / exact.norm() < 3e-4  # of float32 sums over 300,000 entries; else 3e-7
    with torch.no_grad():
        assert linear_cross_entropy(hidden, weight, labels, z_loss).item() == ours.item()


def test_a_place_without_a_label_has_no_z(decoder) -> None:
    tokens = torch.randint(0, 97, (2, 16))
    nothing = decoder().loss_sum(tokens, torch.full_like(tokens, IGNORED), z_loss=1.0)
    nothing.backward()
    assert nothing.item() == 0


def test_a_decoder_adds_the_squared_logs_of_its_own_logits(decoder) -> None:
    model = decoder()
    tokens = torch.randint(0, 97, (2, 17))
    plain, with_z = (model.loss_sum(tokens[:, :-1], tokens[:, 1:], z_loss=z).item() for z in (0.0, 0.25))
    log_z = model(tokens[:, :-1]).double().logsumexp(-1)
    assert with_z - plain == pytest.approx(0.25 * log_z.square().sum().item(), rel=1e-5)


def test_micro_batches_add_up_to_one_batch(decoder) -> None:
    tokens = torch.randint(0, 97, (6, 17))
    whole, parts = decoder(), decoder()
    whole.loss_sum(tokens[:, :-1], tokens[:, 1:], z_loss=0.1).backward()
    for part in tokens.split((1, 3, 2)):
        parts.loss_sum(part[:, :-1], part[:, 1:], z_loss=0.1).backward()
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_it_draws_the_normalisers_towards_one(decoder) -> None:
    """What it is for: the gradient of log²Z alone lowers it."""
    model = decoder()
    tokens = torch.randint(0, 97, (4, 17))

    @torch.no_grad()
    def distance() -> float:
        return float(model(tokens[:, :-1]).logsumexp(-1).square().mean())

    before, optimizer = distance(), torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(10):
        optimizer.zero_grad()
        model.loss_sum(tokens[:, :-1], tokens[:, 1:], z_loss=10.0).backward()
        optimizer.step()
    assert distance() < 0.5 * before
