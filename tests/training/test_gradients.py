"""Gradients of many small decoders: C-KERNEL-009 and 010."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor

from albor.config.schema.optim import AdamW, Muon
from albor.models.decoder import Decoder
from albor.training import optimizers

from .toy import MODEL

CASES = 10_000
DECODERS, ROWS = 340, 4
Rows = tuple[int, ...]
SUBSETS: list[Rows] = [s for n in range(1, ROWS + 1) for s in itertools.combinations(range(ROWS), n)]


@dataclass(frozen=True)
class Measured:
    """The gradients of one decoder's summed loss, a row of the matrix for each of ``SUBSETS``."""

    gradients: Tensor
    sizes: list[int]
    """Elements of each parameter; they lie one after the other in a row."""
    labels: Tensor
    """How many labels each subset has."""


def decoder(seed: int) -> Decoder:
    """Of a shape of its own."""
    heads, groups = ((2, 1), (2, 2), (4, 2), (4, 1))[seed % 4]
    shape = replace(MODEL, hidden_size=4 * heads, num_attention_heads=heads, num_key_value_heads=groups,
                    num_hidden_layers=1 + (seed % 8 == 0), intermediate_size=6 + seed % 5, vocab_size=11 + seed % 7,
                    qk_norm=seed % 3 == 0)  # fmt: skip
    torch.manual_seed(seed)
    return Decoder(shape)


def measure(model: Decoder) -> Measured:
    tokens = torch.randint(0, model.config.vocab_size, (ROWS, 6))
    labels = torch.where(torch.rand(ROWS, 5) < 0.3, -100, tokens[:, 1:])
    labels[:, -1] = tokens[:, -1]  # of a row without labels, nothing is learned
    parameters = list(model.parameters())
    losses = torch.stack([model.loss_sum(tokens[list(rows), :-1], labels[list(rows)]) for rows in SUBSETS])
    # A gradient of each loss, all in one pass backwards.
    found = torch.autograd.grad(losses, parameters, torch.eye(len(SUBSETS)), is_grads_batched=True)
    valid = torch.stack([(labels[list(rows)] != -100).sum() for rows in SUBSETS])
    return Measured(torch.cat([g.flatten(1) for g in found], 1), [p.numel() for p in parameters], valid)


@pytest.fixture(scope="module", params=[DECODERS // 10, pytest.param(DECODERS, marks=pytest.mark.slow)])
def measured(request: pytest.FixtureRequest) -> list[Measured]:
    """Every decoder as it is initialised, and after a step of AdamW or Muon on other rows."""
    found = []
    for seed in range(request.param):
        model = decoder(seed)
        found.append(before := measure(model))
        for parameter, gradient in zip(model.parameters(), before.gradients[-1].split(before.sizes), strict=True):
            parameter.grad = gradient.view_as(parameter).clone()
        built = optimizers.build(model, Muon(lr=1e-2, matrix_lr=1e-2) if seed % 2 else AdamW(lr=1e-2), compile=False)
        optimizers.step_if(built, torch.tensor(True))
        found.append(measure(model))
    return found


def share(measured: list[Measured]) -> float:
    """Of the decoders."""
    return len(measured) / (2 * DECODERS)


def splits(rows: Rows) -> Iterator[list[Rows]]:
    """Every way to cut ``rows`` into micro-batches."""
    if not rows:
        yield []
        return
    first, rest = rows[0], rows[1:]
    for n in range(len(rest) + 1):
        for more in itertools.combinations(rest, n):
            for others in splits(tuple(r for r in rest if r not in more)):
                yield [(first, *more), *others]


@pytest.mark.contract("C-KERNEL-009", level=3)
def test_micro_batches_add_up_to_the_batch(measured: list[Measured]) -> None:
    """Every batch of two to four rows, cut in every way, some labels ignored, divided by the labels of the whole step.
    A micro-batch's gradient is computed once for all batches that it is part of; test_pretrain.py asks the trainer."""
    cuts = [(batch, cut) for batch, rows in enumerate(SUBSETS) for cut in splits(rows) if len(cut) > 1]
    added = torch.zeros(len(cuts), len(SUBSETS))
    for case, (_, cut) in enumerate(cuts):
        added[case, [SUBSETS.index(micro) for micro in cut]] = 1
    batches = torch.tensor([batch for batch, _ in cuts])
    for one in measured:
        labels = one.labels[batches][:, None]
        whole = one.gradients[batches] / labels
        assert ((added @ one.gradients / labels - whole).norm(dim=1) <= 2e-6 * whole.norm(dim=1)).all()
    assert len(cuts) * len(measured) >= share(measured) * CASES


@pytest.mark.contract("C-KERNEL-010", level=3)
def test_every_parameter_learns(measured: list[Measured]) -> None:
    for one in measured:
        assert one.gradients.isfinite().all()
        assert all(part.any(dim=1).all() for part in one.gradients.split(one.sizes, dim=1))
    assert len(SUBSETS) * len(measured) >= share(measured) * CASES
