"""A decoder's loss and gradients, to hold one device or one precision against another."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from albor.models.attention import documents
from albor.models.decoder import Decoder

EOS = 3
Passed = tuple[float, dict[str, Tensor]]


def rows(length: int = 128, count: int = 3) -> tuple[Tensor, Tensor]:
    """Tokens and labels, of several documents a row, some labels ignored."""
    tokens = torch.randint(0, 97, (count, length + 1), generator=torch.Generator().manual_seed(1))
    labels = torch.where(tokens % 7 == 0, -100, tokens)
    return tokens[:, :-1], labels[:, 1:]


def passes(model: Decoder, tokens: Tensor, labels: Tensor, *, masked: bool = False, z_loss: float = 0.0) -> Passed:
    """The mean loss, and the gradients of the model's parameters."""
    device = model.model.norm.weight.device
    tokens, labels = tokens.to(device), labels.to(device)
    mask = documents(tokens, EOS) if masked else None
    model.zero_grad()
    loss = model.loss_sum(tokens, labels, mask, z_loss=z_loss) / (labels != -100).sum()
    loss.backward()
    return loss.item(), {n: p.grad.double().cpu() for n, p in model.named_parameters() if p.grad is not None}


def assert_agree(found: Passed, exact: Passed, tolerance: tuple[float, float]) -> None:
    assert found[0] == pytest.approx(exact[0], rel=tolerance[0])
    assert found[1].keys() == exact[1].keys()
    errors = {name: float((found[1][name] - g).norm() / g.norm()) for name, g in exact[1].items()}
    assert max(errors.values()) < tolerance[1], errors


def on(device: torch.device, model: Decoder, dtype: torch.dtype) -> Decoder:
    """The same float32 weights there, computing in ``dtype``."""
    moved = copy.deepcopy(model).to(device)
    moved.dtype = dtype
    return moved
