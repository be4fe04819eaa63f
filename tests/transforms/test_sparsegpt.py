"""SparseGPT against its paper, written down plainly: an inverse for each input instead of one Cholesky factor."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from albor.config.schema.prune import SparseGpt
from albor.transforms.prune import pattern_mask
from albor.transforms.sparsegpt import sparsegpt


def material(rows: int = 12, width: int = 40, tokens: int = 200) -> tuple[Tensor, Tensor]:
    """A matrix, and the Gram matrix of inputs that hang together."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(tokens, width, generator=generator) @ torch.randn(width, width, generator=generator)
    return torch.randn(rows, width, generator=generator), inputs.T @ inputs


def plain(weight: Tensor, hessian: Tensor, method: SparseGpt, group: int) -> Tensor:
    """Weights are chosen for ``group`` inputs at once; of the inputs not yet seen the inverse Hessian is taken anew."""
    w, h = weight.double().clone(), hessian.double()
    h = h + method.dampening * h.diagonal().mean() * torch.eye(len(h))
    inverses = [h[j:, j:].inverse() for j in range(len(h))]
    keep = torch.ones_like(w, dtype=torch.bool)
    for j, inverse in enumerate(inverses):
        if j % group == 0:
            part = slice(j, j + group)
            scores = w[:, part].square() / torch.stack([inverse[0, 0] for inverse in inverses[part]])
            keep[:, part] = pattern_mask(scores, method.sparsity, method.pattern, per="tensor")
        error = (w[:, j] * ~keep[:, j]) / inverse[0, 0]
        w[:, j:] -= error.outer(inverse[0])
        w[:, j] *= keep[:, j]
    return w * keep


@pytest.mark.parametrize(
    ("method", "group"),
    [
        (SparseGpt(block=40), 40),
        (SparseGpt(block=16, sparsity=0.7), 16),
        (SparseGpt(block=16, pattern="2:4"), 4),
        (SparseGpt(block=13, pattern="4:8"), 8),
        (SparseGpt(block=8, dampening=0.5), 8),
    ],
    ids=repr,
)
def test_it_is_the_papers_algorithm(method: SparseGpt, group: int) -> None:
    weight, hessian = material()
    expected = plain(weight, hessian, method, group).float()
    torch.testing.assert_close(sparsegpt(weight, hessian, method), expected, rtol=1e-3, atol=1e-3)


def test_with_independent_inputs_nothing_can_be_made_up_for() -> None:
    weight, _ = material()
    scale = torch.rand(40) + 0.1
    pruned = sparsegpt(weight, torch.diag(scale.square()), SparseGpt(dampening=1e-9, block=40))
    stays = pruned != 0
    assert torch.equal(pruned[stays], weight[stays])
    assert torch.equal(stays, pattern_mask(weight.abs() * scale, 0.5, "unstructured", per="tensor"))


def test_weights_of_inputs_that_are_always_zero_go_first() -> None:
    weight, hessian = material()
    dead = torch.arange(0, 40, 4)
    hessian[dead], hessian[:, dead] = 0, 0
    pruned = sparsegpt(weight, hessian, SparseGpt(block=40))
    assert (pruned[:, dead] == 0).all() and (pruned == 0).double().mean() == 0.5
    assert pruned.isfinite().all()


def test_fewer_tokens_than_inputs_are_enough() -> None:
    weight, hessian = material(tokens=5)
    assert sparsegpt(weight, hessian, SparseGpt()).isfinite().all()
